// Field blocks of HTTP/2, of one connection each, read beside nghttp2: what egress understands it must understand, too, and as the same.
// What is cut short because it is too large is the beginning of what it would be otherwise, and leaves the same table.

import { type DecodedBlock, HpackDecoder } from '../../../egress/http2/hpack/decoder.ts'
import { HpackEncoder } from '../../../egress/http2/hpack/encoder.ts'
import { isFieldName, isFieldValue } from '../../../lib/http1/fields.ts'
import type { Random } from '../../gateway/strict/mutate.ts'
import { RFC_EXAMPLES } from '../http2/hpack/rfc-examples.ts'
import { mutateBytes, pick } from './mutate.ts'
import { createNghttp2Reader, type ReadByNghttp2 } from './nghttp2.ts'
import { type FuzzTarget, hex, unhex } from './target.ts'

const TABLE_BYTES = 4096
const MAX_LIST_BYTES = 600
const MAX_FIELDS = 12
const ENTRY_BYTES = 32
const MAX_BLOCKS = 6
const MAX_PIECES = 14
/** What nghttp2 reads and egress does not: the limit changes more than twice, though twice says all (RFC 7541 4.2). */
const TOO_MANY_UPDATES = /^(?:2.|3[0-9a-e]|3f(?:[89a-f].)*[0-7].){3}/
/** Between the blocks of one connection. */
const BETWEEN = '.'

const toBytes = (text: string) => unhex(text.replaceAll(' ', ''))
const listBytes = (texts: string) => texts.split(',').map(toBytes)

const CONNECTIONS = [
  ...RFC_EXAMPLES.map(({ blocks }) => blocks.map((block) => toBytes(block.hex))),
  listBytes('3fe11f 82, 20 82 87 84'),
  listBytes('20 3fe11f 82, 3f21 40 01 61 01 62 be, 3f00 be'),
  listBytes('82 86 84, 00 01 61 84 ffffffff'),
  listBytes('82 86 84 41 01 61, 82 86 84 be, 82 86 84 bf'),
  listBytes('82 86 84 41 01 61 0f 80 80 80 80 00 01 62'),
  listBytes('82 86 84 41 01 61 10 01 61 81 1f 10 01 61 81 18'),
]
/** How a block can begin: changes of the limit, and pseudo fields. */
const UPDATES = listBytes('20, 3f00, 3f21, 3f41, 3fe11f, 20 3fe11f, 3f21 3f41, 20 20 20, 3fe21f')
const PSEUDO = listBytes('82 86 84 41 01 61, 83 87 85 01 01 61, 82 87 44 02 2f61 11 01 62')
/** Puts some into the table, so that there is something to ask for. */
const FIRST = toBytes('82 86 84 41 01 61 58 02 3231 40 01 61 01 62 40 01 63 81 1f')
const FIELDS = [
  ...listBytes(
    'be, bf, c0, bd, 90, 40 01 61 01 62, 40 01 63 81 1f, 58 02 3231, 5a 83 9bd9ab, 40 81 1f 81 f8',
  ),
  ...listBytes('00 01 61 00, 0f0d 01 39, 0f2f 01 63, 7e 01 64, 7f00 01 65, 10 01 61 01 62, 1f08 03 616263'),
  ...listBytes('10 01 64 84 00 00 00 7f, 40 01 65 85 60d5485f3f, 40 01 66 02 c3a9'),
  ...listBytes(`40 01 7a 7f8901 ${'7a'.repeat(264)}, 7e 7f810c ${'79'.repeat(1664)}`),
]
/** What is wrong, or is it where nothing fits it. */
const ODD = [
  ...listBytes('80, ff, ff00, ff01, ff80, ff8000, c8, 41, 0f, 40 00 00, 40 01 41 00, 00 01 61 01 0a, 20'),
  ...listBytes(
    '84, 86, 7f8001, 7fffffffff0f, ffffffffff7f, 40 01 62 83 1fffff, 84ffffffff, 81ff, 81fe, 3f21',
  ),
]
const ODD_IN = 24

export function createHpackTarget(): FuzzTarget {
  const readByNghttp2 = createNghttp2Reader()
  return {
    make: (random) => {
      const rest = Array.from({ length: random(MAX_BLOCKS) }, () => makeBlock(random))
      return [random(4) > 0 ? FIRST : makeBlock(random), ...rest].map(hex).join(BETWEEN)
    },
    check: async (made) => {
      const blocks = made.split(BETWEEN).map(unhex)
      const { problem, read, sentOn } = readAndSendOn(blocks)
      if (problem !== undefined) return problem
      const accepted = read.filter((decoded) => decoded !== undefined)
      if (accepted.length < read.length && TOO_MANY_UPDATES.test(hex(blocks[accepted.length]!)))
        return undefined
      return (
        problemBeside(read, await readByNghttp2(blocks.slice(0, read.length))) ??
        problemBeside(accepted, await readByNghttp2(sentOn))
      )
    },
    corpus: CONNECTIONS.map((blocks) => blocks.map(hex).join(BETWEEN)),
  }
}

/** Reads until a block is refused, and writes for the next one what it has read. */
function readAndSendOn(blocks: readonly Buffer[]) {
  const wide = openDecoder(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)
  const narrow = openDecoder(MAX_LIST_BYTES, MAX_FIELDS)
  const next = openDecoder(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)
  const encoder = new HpackEncoder()
  const read: (DecodedBlock | undefined)[] = []
  const sentOn: Buffer[] = []
  let problem: string | undefined
  for (const block of blocks) {
    const decoded = wide.decode(block)
    read.push(decoded)
    problem = problemOfCut(decoded, narrow.decode(block))
    if (!decoded || problem !== undefined) break
    const sent = encoder.encode(decoded.fields)
    sentOn.push(sent)
    if (JSON.stringify(next.decode(sent)) !== JSON.stringify(decoded))
      problem = 'what it sends on is something else'
    if (problem !== undefined) break
  }
  return { problem, read, sentOn }
}

function openDecoder(maxListBytes: number, maxFields: number): HpackDecoder {
  return new HpackDecoder({ maxTableBytes: TABLE_BYTES, maxListBytes, maxFields })
}

function makeBlock(random: Random): Buffer {
  if (random(8) === 0) return mutateBytes({ seeds: CONNECTIONS.flat(), words: [...FIELDS, ...ODD] }, random)
  const updates = random(4) === 0 ? [pick(UPDATES, random)!] : []
  const pseudo = random(8) > 0 ? [pick(PSEUDO, random)!] : []
  const fields = Array.from(
    { length: random(MAX_PIECES) },
    () => pick(random(ODD_IN) > 0 ? FIELDS : ODD, random)!,
  )
  return Buffer.concat([...updates, ...pseudo, ...fields])
}

function problemOfCut(whole: DecodedBlock | undefined, cut: DecodedBlock | undefined): string | undefined {
  if (!whole || !cut) return whole === cut ? undefined : 'whether it is right depends on how large it may be'
  const beginning = whole.fields.slice(0, cut.fields.length)
  if (JSON.stringify(cut.fields) !== JSON.stringify(beginning)) return 'what it cuts short is something else'
  if (cut.isTooLarge === (cut.fields.length === whole.fields.length)) return 'it says wrongly that it cuts'
  const bytes = cut.fields.reduce((sum, { name, value }) => sum + name.length + value.length + ENTRY_BYTES, 0)
  if (bytes > MAX_LIST_BYTES || cut.fields.length > MAX_FIELDS) return 'it reads more than it may'
  return undefined
}

function problemBeside(
  ours: readonly (DecodedBlock | undefined)[],
  theirs: ReadByNghttp2,
): string | undefined {
  const isRefused = ours.length > 0 && ours.at(-1) === undefined
  if (isRefused !== theirs.isRefused)
    return isRefused ? 'egress refuses what nghttp2 reads' : 'nghttp2 refuses what egress reads'
  for (const [place, pairs] of theirs.requests) {
    // It leaves out fields that are not well-formed.
    const fields = ours[place]?.fields.filter(
      ({ name, value }) => name.startsWith(':') || isWellFormed(name, value),
    )
    const found = fields?.flatMap(({ name, value }) => [name, value])
    if (JSON.stringify(found) !== JSON.stringify(pairs))
      return `nghttp2 reads ${JSON.stringify(pairs)}, and egress ${JSON.stringify(found)}`
  }
  return undefined
}

function isWellFormed(name: string, value: string): boolean {
  return isFieldName(name) && isFieldValue(value)
}

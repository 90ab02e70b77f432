// Reading a tar as it arrives, entry by entry. What an archive says of itself is not believed further than its bytes go: the records
// before a head are bounded, numbers must be numbers, and sums must be right.

import { decodeName } from '../name.ts'
import { ArchiveError, type Content } from './archive.ts'
import type { ByteReader } from './byte-reader.ts'
import {
  BLOCK_BYTES,
  padding,
  parsePaxRecords,
  parseTarBlock,
  type RawHead,
  type TarHead,
} from './tar-format.ts'

/** A name has at most 4096 bytes; what stands beside it need not be larger than this. */
const MAX_RECORD_BYTES = 1 << 20
/** Of each kind, a file has one at most. */
const MAX_RECORD_HEADS = 16
const RECORD_FLAGS = ['x', 'g', 'L', 'K']
/** What is read of a pax record; others would only take memory. */
const KEPT_RECORDS = ['path', 'linkpath', 'size', 'mtime']
const MAX_TAIL_BYTES = 64 << 20

/** Calls `take` for each entry, with its content, of which it reads as much as it wants. */
export async function readTar(
  reader: ByteReader,
  take: (head: TarHead, content: Content) => Promise<void>,
): Promise<void> {
  const always = new Map<string, Buffer>()
  let next = new Map<string, Buffer>()
  let heads = 0
  for (;;) {
    const block = await reader.read(BLOCK_BYTES)
    // Some end without the blocks that say so.
    if (block.length === 0) return
    const raw = block.length === BLOCK_BYTES ? parseTarBlock(block) : 'broken'
    if (raw === undefined) break
    if (raw === 'broken' || !isSound(raw)) throw new ArchiveError('it is not a tar, or damaged')
    if (RECORD_FLAGS.includes(raw.flag) && ++heads > MAX_RECORD_HEADS)
      throw new ArchiveError(`it has more than ${MAX_RECORD_HEADS} records before a file`)
    if (raw.flag === 'x' || raw.flag === 'g') {
      const records = parsePaxRecords(await readRecord(reader, raw))
      if (!records) throw new ArchiveError('it has a pax record that is damaged, or too many of them')
      if ([...records.keys()].some((key) => key.startsWith('GNU.sparse')))
        throw new ArchiveError('it has sparse files, which cannot be read')
      for (const [key, value] of records)
        if (KEPT_RECORDS.includes(key)) (raw.flag === 'g' ? always : next).set(key, value)
    } else if (raw.flag === 'L' || raw.flag === 'K') {
      const name = await readRecord(reader, raw)
      const end = name.indexOf(0)
      next.set(raw.flag === 'L' ? 'path' : 'linkpath', end < 0 ? name : name.subarray(0, end))
    } else {
      const head = withRecords(raw, new Map([...always, ...next]))
      next = new Map()
      heads = 0
      const content = new TarContent(reader, head.size)
      await take(head, content)
      await content.skip()
    }
  }
  // What follows the end is nobody's, but the sender must be able to send it: usually zeros up to a round number.
  let passed = 0
  for await (const bytes of reader.rest()) {
    passed += bytes.length
    if (passed > MAX_TAIL_BYTES)
      throw new ArchiveError(`it goes on for more than ${MAX_TAIL_BYTES} bytes after its end`)
  }
}

class TarContent implements Content {
  readonly size: number
  readonly #reader: ByteReader
  #left: number

  constructor(reader: ByteReader, size: number) {
    this.#reader = reader
    this.size = size
    this.#left = size
  }

  async whole(): Promise<Buffer> {
    const bytes = await this.#reader.read(this.#left)
    this.#left -= bytes.length
    if (this.#left > 0) throw new ArchiveError('it ends in the middle of a file')
    return bytes
  }

  async *pieces(): AsyncGenerator<Buffer> {
    while (this.#left > 0) {
      const bytes = await this.#reader.piece(this.#left)
      if (bytes.length === 0) throw new ArchiveError('it ends in the middle of a file')
      this.#left -= bytes.length
      yield bytes
    }
  }

  async skip(): Promise<void> {
    if (!(await this.#reader.skip(this.#left + padding(this.size).length)))
      throw new ArchiveError('it ends in the middle of a file')
  }
}

async function readRecord(reader: ByteReader, { size }: RawHead): Promise<Buffer> {
  if (size > MAX_RECORD_BYTES) throw new ArchiveError('it has a name or record that is too long')
  const content = await reader.read(size)
  if (content.length < size || !(await reader.skip(padding(size).length)))
    throw new ArchiveError('it ends in the middle of a name')
  return Buffer.from(content)
}

function isSound({ size, mode, mtimeMs }: RawHead): boolean {
  return Number.isSafeInteger(size) && size >= 0 && !Number.isNaN(mode) && !Number.isNaN(mtimeMs)
}

function withRecords(raw: RawHead, records: Map<string, Buffer>): TarHead {
  const { flag, ...head } = raw
  const text = (key: string) => records.get(key)
  const size = numberOf(text('size')) ?? head.size
  if (!Number.isSafeInteger(size) || size < 0) throw new ArchiveError('it has a file of no possible size')
  const isDirectory = flag === '5' || (isFileFlag(flag) && head.name.endsWith('/'))
  const type = isDirectory ? 'directory' : isFileFlag(flag) ? 'file' : (LINK_FLAGS[flag] ?? 'other')
  const name = text('path')
  const target = text('linkpath')
  const mtime = numberOf(text('mtime'))
  return {
    ...head,
    type,
    name: name ? decodeName(name) : head.name,
    target: target ? decodeName(target) : head.target,
    // Only files have content; others name sizes all the same.
    size: type === 'file' || type === 'other' ? size : 0,
    mtimeMs: mtime === undefined ? head.mtimeMs : mtime * 1000,
  }
}

const LINK_FLAGS: Record<string, 'hardlink' | 'symlink'> = { '1': 'hardlink', '2': 'symlink' }

function isFileFlag(flag: string): boolean {
  return flag === '0' || flag === '\0' || flag === '7'
}

function numberOf(value: Buffer | undefined): number | undefined {
  if (value === undefined) return undefined
  const number = Number(value.toString('latin1'))
  if (!Number.isFinite(number)) throw new ArchiveError('it has a record that is no number')
  return number
}

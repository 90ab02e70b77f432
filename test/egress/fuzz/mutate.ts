// Bytes that nobody would send, out of those that somebody would: the same seed gives the same ones.

import type { Random } from '../../gateway/strict/mutate.ts'

const NUMBERS = [0, 1, 2, 3, 11, 12, 13, 16, 22, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xfe, 0xff]
const MAX_BYTES = 8192
/** Bytes of which there may be a lot, or which end something. */
const OFTEN = Buffer.from(' \t\r\n,;:.="\\/%-0aA\0\x01\x7f\x80\xc0\xff', 'latin1')
const RUN_BYTES = 60_000

export type Pieces = { seeds: readonly Buffer[]; words: readonly Buffer[] }

/** One of the seeds, changed in up to eight places. */
export function mutateBytes({ seeds, words }: Pieces, random: Random): Buffer {
  let bytes: Buffer = Buffer.from(pick(seeds, random) ?? Buffer.alloc(0))
  for (let left = random(8); left >= 0; left--) bytes = change(bytes, { seeds, words }, random)
  return bytes.subarray(0, MAX_BYTES)
}

function change(bytes: Buffer, { seeds, words }: Pieces, random: Random): Buffer {
  const at = random(bytes.length + 1)
  const before = bytes.subarray(0, at)
  switch (random(9)) {
    case 0:
      return Buffer.concat([before, pick(words, random) ?? Buffer.alloc(0), bytes.subarray(at)])
    case 1: {
      const word = pick(words, random) ?? Buffer.alloc(0)
      return Buffer.concat([before, word, bytes.subarray(at + word.length)])
    }
    case 2:
      return Buffer.concat([before, bytes.subarray(at + 1 + random(4))])
    case 3:
      return before.length > 0 && random(4) === 0 ? before : bytes
    case 4: {
      const other = pick(seeds, random) ?? Buffer.alloc(0)
      return Buffer.concat([before, other.subarray(random(other.length + 1))])
    }
    case 5: {
      const copy = bytes.subarray(at, at + 1 + random(32))
      return Buffer.concat([before, copy, bytes.subarray(at)])
    }
    case 6: {
      const run = Buffer.alloc(random(MAX_BYTES), OFTEN[random(OFTEN.length)])
      return Buffer.concat([before, run, bytes.subarray(at)])
    }
    case 7: {
      const changed = Buffer.from(bytes)
      if (changed.length > 0) changed[random(changed.length)] = NUMBERS[random(NUMBERS.length)] ?? 0
      return changed
    }
    default: {
      const changed = Buffer.from(bytes)
      const where = random(Math.max(1, changed.length))
      if (changed.length > 0) changed[where] = ((changed[where] ?? 0) + random(7) - 3) & 255
      return changed
    }
  }
}

/** A seed with much of one byte in it, for each such byte: what is read again and again for every byte takes long. */
export function runsIn(seeds: readonly Buffer[], random: Random): Buffer[] {
  return [...OFTEN].map((byte) => {
    const seed = pick(seeds, random) ?? Buffer.alloc(0)
    const at = random(seed.length + 1)
    return Buffer.concat([seed.subarray(0, at), Buffer.alloc(RUN_BYTES, byte), seed.subarray(at)])
  })
}

export function pick<T>(items: readonly T[], random: Random): T | undefined {
  return items[random(items.length)]
}

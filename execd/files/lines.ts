// Some lines of a file (contract: execd.md 6.3): joined by `\n`, without the `\r` before it and without a last one. Bytes stay what
// they are, and a line may be of any length: nothing is held but the piece that was read.

import type { FileHandle } from 'node:fs/promises'

const CHUNK_BYTES = 64 << 10
const NEWLINE = 0x0a
const RETURN = 0x0d

/** `offset` counts from 1. */
export type LineWindow = { offset: number; limit: number }

/** The bytes of the lines in `window`, piece by piece; none at all when the file ends before. */
export async function* readLines(handle: FileHandle, { offset, limit }: LineWindow): AsyncGenerator<Buffer> {
  const joiner = new LineJoiner(limit)
  for (let line = 1; ; ) {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, null)
    let rest = buffer.subarray(0, bytesRead)
    for (; line < offset && rest.length > 0; ) {
      const end = rest.indexOf(NEWLINE)
      rest = end < 0 ? rest.subarray(rest.length) : rest.subarray(end + 1)
      if (end >= 0) line++
    }
    const pieces = bytesRead === 0 ? joiner.end() : joiner.take(rest)
    if (pieces.length > 0) yield Buffer.concat(pieces)
    if (bytesRead === 0 || joiner.isDone) return
  }
}

/** Puts lines together again, at most `limit` of them, from pieces that begin and end anywhere. */
class LineJoiner {
  #left: number
  /** A line has ended, and what begins the next one shows that there is a next one. */
  #isBetween = false
  /** The last byte was a `\r`, which goes unless something else than a `\n` follows. */
  #isReturned = false

  constructor(limit: number) {
    this.#left = limit
  }

  get isDone(): boolean {
    return this.#left === 0
  }

  take(bytes: Buffer): Buffer[] {
    const pieces: Buffer[] = []
    for (let rest = bytes; rest.length > 0 && !this.isDone; ) {
      const end = rest.indexOf(NEWLINE)
      const text = end < 0 ? rest : rest.subarray(0, end)
      if (text.length > 0) {
        pieces.push(...this.#separator(), ...(this.#isReturned ? [Buffer.of(RETURN)] : []))
        this.#isReturned = text.at(-1) === RETURN
        pieces.push(this.#isReturned ? text.subarray(0, -1) : text)
      }
      if (end < 0) break
      pieces.push(...this.#separator())
      this.#isReturned = false
      this.#isBetween = true
      this.#left--
      rest = rest.subarray(end + 1)
    }
    return pieces
  }

  end(): Buffer[] {
    return this.#isReturned ? this.#separator() : []
  }

  #separator(): Buffer[] {
    const isNeeded = this.#isBetween
    this.#isBetween = false
    return isNeeded ? [Buffer.of(NEWLINE)] : []
  }
}

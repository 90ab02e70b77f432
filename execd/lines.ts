// Output as lines: one text per line with its own ending, so that all texts together are the output again (contract:
// v1.1.md 2.1). `\n`, `\r\n` and a lone `\r` end a line. Bytes are cut, not characters: none is torn between two reads.

/**
 * A longer line comes in pieces: a client stops at 4 MiB, a control character takes six bytes in JSON, and its line is there once
 * more in Base64 if it is not valid. What completes a line adds as much as one read gives.
 */
const MAX_LINE_BYTES = 448 << 10
const LF = 0x0a
const CR = 0x0d

/** A line that is not valid UTF-8: what of it can be shown, and all of its bytes. */
export type BinaryLine = { text: string; base64: string }
export type Line = string | BinaryLine

export class LineSplitter {
  #pending: Buffer[] = []
  #pendingBytes = 0
  /** The last byte so far is a `\r` that may have its `\n` in the next chunk. */
  #endsInCr = false

  /** Adds bytes and gives the lines that they complete. */
  push(chunk: Buffer): Line[] {
    const lines: Line[] = []
    let start = 0
    if (this.#endsInCr && chunk.length > 0) {
      this.#endsInCr = false
      if (chunk[0] === LF) start = 1
      lines.push(this.#take(chunk.subarray(0, start)))
    }
    let lf = chunk.indexOf(LF, start)
    let cr = chunk.indexOf(CR, start)
    while (lf >= 0 || cr >= 0) {
      if (cr >= 0 && (lf < 0 || cr < lf)) {
        if (cr === chunk.length - 1) {
          this.#endsInCr = true
          break
        }
        const end = chunk[cr + 1] === LF ? cr + 2 : cr + 1
        lines.push(this.#take(chunk.subarray(start, end)))
        start = end
      } else {
        lines.push(this.#take(chunk.subarray(start, lf + 1)))
        start = lf + 1
      }
      if (lf >= 0 && lf < start) lf = chunk.indexOf(LF, start)
      if (cr >= 0 && cr < start) cr = chunk.indexOf(CR, start)
    }
    if (start < chunk.length) {
      this.#pending.push(chunk.subarray(start))
      this.#pendingBytes += chunk.length - start
      if (this.#pendingBytes >= MAX_LINE_BYTES) lines.push(this.#takePiece())
    }
    return lines
  }

  /** The last line, when it has no ending. */
  end(): Line[] {
    this.#endsInCr = false
    return this.#pendingBytes > 0 ? [this.#take(Buffer.alloc(0))] : []
  }

  #take(rest: Buffer): Line {
    if (this.#pendingBytes === 0) return toLine(rest)
    const line = toLine(Buffer.concat([...this.#pending, rest]))
    this.#pending = []
    this.#pendingBytes = 0
    return line
  }

  /** All that is pending but for the beginning of a character or line ending at its end. */
  #takePiece(): Line {
    const all = Buffer.concat(this.#pending)
    const keep = this.#endsInCr ? 1 : unfinishedBytes(all)
    const rest = all.subarray(all.length - keep)
    this.#pending = keep > 0 ? [Buffer.from(rest)] : []
    this.#pendingBytes = keep
    return toLine(all.subarray(0, all.length - keep))
  }
}

function toLine(bytes: Buffer): Line {
  const text = bytes.toString('utf8')
  // Only what has the sign for a byte that is no character needs a second look: the output may have held that sign itself.
  if (!text.includes('\ufffd') || Buffer.from(text).equals(bytes)) return text
  return { text, base64: bytes.toString('base64') }
}

/** How many bytes at the end begin a UTF-8 character that is not complete. */
export function unfinishedBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0
    if (byte < 0x80) return 0
    if (byte >= 0xc0) {
      const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
      return needed > back ? back : 0
    }
  }
  return 0
}

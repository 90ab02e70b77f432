// What a shell writes back: fields that end with NUL, which no text of a shell can hold. What comes is only looked at for what is
// expected, so that a process which found the pipe can say nothing in the shell's place, and no field is held beyond a bound.

const NUL = 0

export type ReportField = {
  bytes: Buffer
  /** It was longer than the bound; `bytes` is only its beginning. */
  isCut: boolean
}

export class ReportReader {
  readonly #maxBytes: number
  #pieces: Buffer[] = []
  #bytes = 0
  #isCut = false

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Adds bytes and gives the fields that they complete. */
  push(chunk: Buffer): ReportField[] {
    const fields: ReportField[] = []
    let start = 0
    for (let end = chunk.indexOf(NUL); end >= 0; end = chunk.indexOf(NUL, start)) {
      this.#add(chunk.subarray(start, end))
      fields.push({ bytes: Buffer.concat(this.#pieces), isCut: this.#isCut })
      this.#pieces = []
      this.#bytes = 0
      this.#isCut = false
      start = end + 1
    }
    this.#add(chunk.subarray(start))
    return fields
  }

  #add(piece: Buffer): void {
    const room = this.#maxBytes - this.#bytes
    if (piece.length > room) this.#isCut = true
    const kept = piece.subarray(0, room)
    if (kept.length > 0) this.#pieces.push(kept)
    this.#bytes += kept.length
  }
}

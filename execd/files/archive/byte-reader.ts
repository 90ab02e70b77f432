// Bytes that come in pieces of any size, read in the sizes that a format has.

const EMPTY = Buffer.alloc(0)
const MAX_PIECE_BYTES = 1 << 20

export class ByteReader {
  readonly #source: AsyncIterator<Buffer>
  #buffer: Buffer = EMPTY

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** The next `length` bytes; fewer when it ends before. */
  async read(length: number): Promise<Buffer> {
    await this.#fill(length)
    return this.#take(length)
  }

  /** The same without taking them. */
  async peek(length: number): Promise<Buffer> {
    await this.#fill(length)
    return this.#buffer.subarray(0, length)
  }

  async #fill(length: number): Promise<void> {
    if (this.#buffer.length < length) {
      const pieces = [this.#buffer]
      let have = this.#buffer.length
      while (have < length) {
        const next = await this.#source.next()
        if (next.done) break
        pieces.push(next.value)
        have += next.value.length
      }
      this.#buffer = Buffer.concat(pieces)
    }
  }

  /** What there is next of at most `max` bytes, without waiting for more; nothing at the end. */
  async piece(max: number): Promise<Buffer> {
    while (this.#buffer.length === 0) {
      const next = await this.#source.next()
      if (next.done) return EMPTY
      this.#buffer = next.value
    }
    return this.#take(max)
  }

  /** Passes over bytes; false when it ends before. */
  async skip(length: number): Promise<boolean> {
    for (let left = length; left > 0; ) {
      const { length: passed } = await this.piece(left)
      if (passed === 0) return false
      left -= passed
    }
    return true
  }

  /** Everything that has not been taken yet. */
  async *rest(): AsyncGenerator<Buffer> {
    for (;;) {
      const bytes = await this.piece(MAX_PIECE_BYTES)
      if (bytes.length === 0) return
      yield bytes
    }
  }

  #take(length: number): Buffer {
    const taken = this.#buffer.subarray(0, length)
    this.#buffer = this.#buffer.subarray(length)
    return taken
  }
}

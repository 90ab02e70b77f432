// Bytes that wait to be sent. Small pieces are copied together: one that is kept by itself takes many times what is in it.

const SLAB_BYTES = 16_384
const SMALL_BYTES = 4096

export class PendingBytes {
  readonly #pieces: Buffer[] = []
  /** How much of the first piece is gone. */
  #taken = 0
  /** The last piece, while more can be written behind it. */
  #slab: Buffer | undefined
  #slabBytes = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  push(piece: Buffer): void {
    this.#length += piece.length
    if (piece.length > SMALL_BYTES) {
      this.#closeSlab()
      this.#pieces.push(piece)
      return
    }
    // Nothing is copied of what goes out at once.
    if (this.#length === piece.length) {
      this.#pieces.push(piece)
      return
    }
    if (this.#slabBytes + piece.length > SLAB_BYTES) this.#closeSlab()
    this.#slab ??= Buffer.allocUnsafeSlow(SLAB_BYTES)
    this.#slabBytes += piece.copy(this.#slab, this.#slabBytes)
  }

  /** As much as there is in one piece, up to `maxBytes`. */
  take(maxBytes: number): Buffer {
    if (this.#pieces.length === 0) this.#closeSlab()
    const [first] = this.#pieces
    if (!first) return Buffer.alloc(0)
    const part = first.subarray(this.#taken, this.#taken + maxBytes)
    this.#taken += part.length
    if (this.#taken === first.length) {
      this.#pieces.shift()
      this.#taken = 0
    }
    this.#length -= part.length
    return part
  }

  clear(): void {
    this.#pieces.length = 0
    this.#slab = undefined
    this.#slabBytes = 0
    this.#taken = 0
    this.#length = 0
  }

  #closeSlab(): void {
    if (this.#slab && this.#slabBytes > 0) this.#pieces.push(this.#slab.subarray(0, this.#slabBytes))
    this.#slab = undefined
    this.#slabBytes = 0
  }
}

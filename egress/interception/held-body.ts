// A body that is held until it is whole. Its bytes are copied into one piece of memory: a body that comes byte by byte would otherwise
// be as many pieces, each of which takes hundreds of times what is in it.

export class HeldBody {
  readonly #bytes: Buffer
  #length = 0

  /** `length`: how long it says that it is; more than that is not kept. */
  constructor(length: number) {
    this.#bytes = Buffer.allocUnsafeSlow(length)
  }

  push(part: Buffer): void {
    this.#length += part.copy(this.#bytes, this.#length)
  }

  /** What has come of it. */
  takeAll(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }
}

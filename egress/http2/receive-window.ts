// What the other side may send before we let go of what came (RFC 9113 5.2): on one stream, or on all of a connection together.

export class ReceiveWindow {
  #bytes: number
  /** What may still come. */
  #left: number
  /** What was let go, and is not granted anew yet. */
  #ungranted = 0
  #cameBytes = 0

  constructor(bytes: number) {
    this.#bytes = bytes
    this.#left = bytes
  }

  /** How wide it is. */
  get bytes(): number {
    return this.#bytes
  }

  /** All that has ever come. */
  get cameBytes(): number {
    return this.#cameBytes
  }

  /** What has come and is still in somebody's hands. */
  get heldBytes(): number {
    return this.#bytes - this.#left - this.#ungranted
  }

  widen(bytes: number): void {
    this.#bytes += bytes
    this.#left += bytes
  }

  /** False: it is more than may come. */
  receive(bytes: number): boolean {
    this.#cameBytes += bytes
    this.#left -= bytes
    return this.#left >= 0
  }

  /** Nobody keeps so many bytes any more; gives how many of them were held. */
  letGo(bytes: number): number {
    const freed = Math.min(bytes, this.heldBytes)
    this.#ungranted += freed
    return freed
  }

  /** How many bytes are granted anew now: all that were let go, if these are as many as is worth a frame. */
  grant(leastBytes: number): number {
    const granted = this.#ungranted
    if (granted < leastBytes) return 0
    this.#left += granted
    this.#ungranted = 0
    return granted
  }
}

// How much has passed on a client's connection, for whoever asks: of the request that is under way, and since somebody last looked.

export type Passed = { bytesIn: number; bytesOut: number }

export class ByteMeter implements Passed {
  /** What came of the client, and what went to it; whoever moves bytes adds them. */
  bytesIn = 0
  bytesOut = 0
  #seen = 0

  /** Of the request that ends with this call. */
  take(): Passed {
    const passed = { bytesIn: this.bytesIn, bytesOut: this.bytesOut }
    this.#seen -= this.bytesIn + this.bytesOut
    this.bytesIn = 0
    this.bytesOut = 0
    return passed
  }

  /** Whether anything has passed since it was last asked. */
  hasMoved(): boolean {
    const all = this.bytesIn + this.bytesOut
    if (all === this.#seen) return false
    this.#seen = all
    return true
  }
}

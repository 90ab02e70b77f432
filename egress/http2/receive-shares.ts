// How what the other side may send ahead on one connection is divided among its streams (RFC 9113 5.2). Each begins with little and may
// send more once somebody reads it, and no more is promised to all together than the connection may have: so streams that nobody reads
// leave room for the others, however many they are.

import type { ReceiveWindow } from './receive-window.ts'

export type ShareLimits = {
  /** Of all streams together. */
  bytes: number
  /** What a stream begins with. */
  firstBytes: number
  /** And what it may have at most. */
  mostBytes: number
}

export class ReceiveShares {
  readonly #limits: ShareLimits
  /** Windows of streams that go on, and what is still held of those that are over. */
  #takenBytes = 0
  /** What streams may send beyond what they began with. */
  #grownBytes = 0

  constructor(limits: ShareLimits) {
    this.#limits = limits
  }

  /** Whether so many more streams can begin without promising too much. */
  hasRoomFor(streams: number): boolean {
    const { bytes, firstBytes } = this.#limits
    return this.#takenBytes + streams * firstBytes <= bytes
  }

  /** Whether another stream could not grow as far as it may. */
  get isTight(): boolean {
    return this.#growable < this.#limits.mostBytes
  }

  begin(): void {
    this.#takenBytes += this.#limits.firstBytes
  }

  /** Makes a window wider whose bytes were let go; gives by how much. */
  grow(window: ReceiveWindow): number {
    // Whoever keeps so much of it reads more slowly than it comes, and would only keep more.
    if (window.heldBytes > window.bytes / 4) return 0
    // Never all that there is, as the next one will want some.
    const most = Math.min(this.#limits.mostBytes - window.bytes, Math.floor(this.#growable / 4))
    const bytes = Math.max(0, most)
    window.widen(bytes)
    this.#takenBytes += bytes
    this.#grownBytes += bytes
    return bytes
  }

  /** A stream is over, of which what is held counts on until it is let go. */
  end(window: ReceiveWindow): void {
    this.#takenBytes -= window.bytes - window.heldBytes
    this.#grownBytes -= window.bytes - this.#limits.firstBytes
  }

  /** So much that was held of streams that are over is not held any more. */
  letGo(bytes: number): void {
    this.#takenBytes -= bytes
  }

  /** The other half is for streams that have not begun. */
  get #growable(): number {
    const { bytes } = this.#limits
    return Math.min(bytes / 2 - this.#grownBytes, bytes - this.#takenBytes)
  }
}

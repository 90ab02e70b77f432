// What goes out on one connection: all that a turn of the event loop has made goes in one piece, which is one record of TLS for many
// streams. Bodies wait while the other side does not read; what else there is for it to be told is bounded.

import type { Duplex } from 'node:stream'

export type OutputOptions = {
  /** Bodies may go on. */
  onDrain: () => void
  /** The other side does not read as fast as it is told things, or does again. */
  onStalled: (isStalled: boolean) => void
  /** The other side has not read for so long that it cannot be told any more. */
  onFull: () => void
}

/** Bodies wait above it. */
const FULL_BYTES = 128 * 1024
const MAX_BYTES = 8 * 1024 * 1024
/** Up to here it is cheaper to make one piece of all. */
const JOINED_BYTES = 64 * 1024

export class Output {
  readonly #socket: Duplex
  readonly #options: OutputOptions
  #parts: Buffer[] = []
  #bytes = 0
  #isScheduled = false
  #isWaiting = false
  #isStalled = false
  #isEnded = false

  constructor(socket: Duplex, options: OutputOptions) {
    this.#socket = socket
    this.#options = options
    socket.on('drain', () => this.#drained())
  }

  /** Whether the other side reads no faster than it is told things. */
  get isFull(): boolean {
    return this.#bytes + this.#socket.writableLength >= FULL_BYTES
  }

  /** Whether more of a body may be written; if not, it is heard when it may. */
  get isOpen(): boolean {
    const { isFull } = this
    if (isFull) this.#isWaiting = true
    return !isFull
  }

  write(part: Buffer): void {
    if (this.#isEnded) return
    this.#parts.push(part)
    this.#bytes += part.length
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(this.#flush)
  }

  /** Nothing more is written after what there is, and the connection ends when that has been read, or so much later. */
  end(withinMs: number): void {
    if (this.#isEnded) return
    this.#flush()
    this.#isEnded = true
    const socket = this.#socket.end()
    const timer = setTimeout(() => socket.destroy(), withinMs)
    socket.once('close', () => clearTimeout(timer))
  }

  readonly #flush = (): void => {
    this.#isScheduled = false
    if (this.#bytes === 0 || this.#isEnded || this.#socket.destroyed) return
    const parts = this.#parts
    const bytes = this.#bytes
    this.#parts = []
    this.#bytes = 0
    const socket = this.#socket
    const [first] = parts
    if (parts.length === 1 && first) socket.write(first)
    else if (bytes <= JOINED_BYTES) socket.write(Buffer.concat(parts, bytes))
    else {
      socket.cork()
      for (const part of parts) socket.write(part)
      socket.uncork()
    }
    if (socket.writableLength > MAX_BYTES) this.#options.onFull()
    else if (socket.writableLength >= FULL_BYTES) this.#stalled()
    // What is in the hands of the kernel now was never waited for.
    else if (!socket.writableNeedDrain) this.#drained()
  }

  #stalled(): void {
    if (this.#isStalled) return
    this.#isStalled = true
    this.#options.onStalled(true)
  }

  #drained(): void {
    if (this.#isStalled) {
      this.#isStalled = false
      this.#options.onStalled(false)
    }
    if (!this.#isWaiting || this.#isEnded) return
    this.#isWaiting = false
    this.#options.onDrain()
  }
}

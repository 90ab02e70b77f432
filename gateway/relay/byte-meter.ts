// How much has passed on a client's connection, for whoever asks: of the request that is under way, and since somebody last looked.

import type { ClientSocket } from '../decision/verdict.ts'

type Passed = { bytesIn: number; bytesOut: number }

export class ByteMeter {
  readonly #socket: Pick<ClientSocket, 'bytesRead' | 'bytesWritten'>
  #before: Passed = { bytesIn: 0, bytesOut: 0 }
  #seen = 0

  constructor(socket: Pick<ClientSocket, 'bytesRead' | 'bytesWritten'>) {
    this.#socket = socket
  }

  /** Of the request that is under way. */
  get passed(): Passed {
    const { bytesRead, bytesWritten } = this.#socket
    return { bytesIn: bytesRead - this.#before.bytesIn, bytesOut: bytesWritten - this.#before.bytesOut }
  }

  /** Of the request that ends with this call. */
  take(): Passed {
    const { bytesRead, bytesWritten } = this.#socket
    const { bytesIn, bytesOut } = this.#before
    this.#before = { bytesIn: bytesRead, bytesOut: bytesWritten }
    return { bytesIn: bytesRead - bytesIn, bytesOut: bytesWritten - bytesOut }
  }

  /** Whether anything has passed since it was last asked. */
  hasMoved(): boolean {
    const all = this.#socket.bytesRead + this.#socket.bytesWritten
    if (all === this.#seen) return false
    this.#seen = all
    return true
  }
}

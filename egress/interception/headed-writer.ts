// Writes messages of HTTP/1. A head goes out together with what comes right after it, so that a small message is one packet and one
// record of TLS.

import type { Writable } from 'node:stream'
import { writePiece } from '../write-piece.ts'

/** Up to here it is cheaper to make one text of both than to write two things. */
const JOINED_BYTES = 4096
const LARGE_BYTES = 8192

export class HeadedWriter {
  readonly #to: Writable
  #head = ''
  #isGathering = false

  constructor(to: Writable) {
    this.#to = to
  }

  /** One character for each byte. It goes out with the next part, or when it is flushed. */
  addHead(text: string): void {
    this.#head += text
  }

  /** Gives whether more may come at once. */
  write(part: Buffer): boolean {
    const head = this.#head
    if (part.length >= LARGE_BYTES) this.#gather()
    if (head === '') return writePiece(this.#to, part)
    this.#head = ''
    if (part.length <= JOINED_BYTES) return this.#to.write(head + part.toString('latin1'), 'latin1')
    this.#to.cork()
    this.#to.write(head, 'latin1')
    const isOpen = this.#to.write(part)
    this.#to.uncork()
    return isOpen
  }

  /** Large parts come in rows, one for each record of TLS: what has come by the end of this turn goes out at once. */
  #gather(): void {
    if (this.#isGathering) return
    this.#isGathering = true
    this.#to.cork()
    setImmediate(() => {
      this.#isGathering = false
      this.#to.uncork()
    })
  }

  flush(): void {
    if (this.#head === '') return
    this.#to.write(this.#head, 'latin1')
    this.#head = ''
  }
}

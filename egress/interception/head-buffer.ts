// What has come of a connection and is not read yet: the beginning of a head, until the end of the head has come too.

import { MAX_HEAD_BYTES } from './http1-head.ts'

export const EMPTY = Buffer.alloc(0)
const HEAD_END = Buffer.from('\r\n\r\n')
/** A head in more pieces than this is sent by nobody in earnest, and each costs a look at all of them. */
const MAX_PIECES = 512

export class HeadBuffer {
  #bytes: Buffer = EMPTY
  #pieces = 0

  get isEmpty(): boolean {
    return this.#bytes.length === 0
  }

  /** There is as much as a head may have: who sends more should wait. */
  get isFull(): boolean {
    return this.#bytes.length > MAX_HEAD_BYTES
  }

  /** It is no head that anybody reads to its end. */
  get isTooMuch(): boolean {
    return this.isFull || this.#pieces > MAX_PIECES
  }

  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    this.#pieces++
  }

  /** The next head, one character for each byte; undefined while its end has not come. */
  takeHead(): string | undefined {
    if (this.isEmpty) return undefined
    const at = this.#bytes.indexOf(HEAD_END)
    if (at < 0) return undefined
    const end = at + HEAD_END.length
    const text = this.#bytes.toString('latin1', 0, end)
    this.#bytes = end === this.#bytes.length ? EMPTY : this.#bytes.subarray(end)
    this.#pieces = 0
    return text
  }

  /** Everything, which is then no longer here. */
  takeAll(): Buffer {
    const bytes = this.#bytes
    this.#bytes = EMPTY
    this.#pieces = 0
    return bytes
  }
}

// What has come of a connection and is not read yet: the beginning of a head, until the end of the head has come too. However small the
// pieces are in which it comes, each of its bytes is looked at once.

import { MAX_HEAD_BYTES } from './http1-head.ts'

export const EMPTY = Buffer.alloc(0)
const HEAD_END = Buffer.from('\r\n\r\n')

export class HeadBuffer {
  /** The first piece as it came; from the second one on a buffer of our own, with room for more. */
  #held: Buffer = EMPTY
  #isOurs = false
  #from = 0
  #to = 0
  /** No head ends before this. */
  #lookedTo = 0

  get isEmpty(): boolean {
    return this.#from === this.#to
  }

  /** There is as much as a head may have: who sends more should wait, and a head that has not ended by then is too long. */
  get isFull(): boolean {
    return this.#to - this.#from > MAX_HEAD_BYTES
  }

  push(chunk: Buffer): void {
    if (this.isEmpty) {
      this.#hold(chunk, { isOurs: false, to: chunk.length })
      return
    }
    if (!this.#isOurs || this.#to + chunk.length > this.#held.length) this.#makeRoom(chunk.length)
    this.#to += chunk.copy(this.#held, this.#to)
  }

  /** The next head, one character for each byte; undefined while its end has not come. */
  takeHead(): string | undefined {
    if (this.isEmpty) return undefined
    const seen = this.#isOurs ? this.#held.subarray(0, this.#to) : this.#held
    const at = seen.indexOf(HEAD_END, this.#lookedTo)
    if (at < 0) {
      // The end may have come in part.
      this.#lookedTo = Math.max(this.#from, this.#to - HEAD_END.length + 1)
      return undefined
    }
    const end = at + HEAD_END.length
    const text = this.#held.toString('latin1', this.#from, end)
    this.#from = end
    this.#lookedTo = end
    if (this.isEmpty) this.#hold(EMPTY, { isOurs: false, to: 0 })
    return text
  }

  /** Everything, which is then no longer here. */
  takeAll(): Buffer {
    const bytes = this.#held.subarray(this.#from, this.#to)
    this.#hold(EMPTY, { isOurs: false, to: 0 })
    return bytes
  }

  #makeRoom(more: number): void {
    const length = this.#to - this.#from
    const needed = length + more
    // Each time twice as large, so that what is there is seldom copied; but no more than can be needed.
    const room = Buffer.allocUnsafe(Math.max(needed, Math.min(2 * needed, MAX_HEAD_BYTES)))
    this.#held.copy(room, 0, this.#from, this.#to)
    const lookedTo = this.#lookedTo - this.#from
    this.#hold(room, { isOurs: true, to: length })
    this.#lookedTo = lookedTo
  }

  #hold(bytes: Buffer, { isOurs, to }: { isOurs: boolean; to: number }): void {
    this.#held = bytes
    this.#isOurs = isOurs
    this.#from = 0
    this.#to = to
    this.#lookedTo = 0
  }
}

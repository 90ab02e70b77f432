// Where the body of a message ends, found as its bytes pass (RFC 9112 6, 7). Nothing is held back but lines
// of trailers, and of sizes of chunks that more is said in: that is read by nobody who means well, and by others in different ways.

import { type Framing, isEmpty } from '../../lib/http1/framing.ts'

/** Lines of trailers as they are to go on, or what is wrong with them. */
export type MendTrailers = (lines: string) => string | { problem: string }

export type Taken = {
  /** What may go on. */
  pass: Buffer[]
  /** How many of the bytes belong to the body; the rest comes after it. */
  used: number
  problem?: string
}

type State = 'size' | 'data' | 'data end' | 'trailers' | 'rest' | 'done'

const LF = 10
const MAX_LINE_BYTES = 4096
const MAX_TRAILER_BYTES = 65_536
const CHUNK_SIZE = /^[0-9A-Fa-f]{1,12}(;[\t\x20-\x7e\x80-\xff]*)?\r\n$/

export class Body {
  readonly #isChunked: boolean
  readonly #mend: MendTrailers
  #state: State
  #left = 0
  #line = ''
  #trailers = ''

  constructor(framing: Framing, mend: MendTrailers) {
    this.#isChunked = framing.kind === 'chunked'
    this.#mend = mend
    this.#left = framing.kind === 'length' ? framing.length : 0
    this.#state =
      framing.kind === 'close' ? 'rest' : isEmpty(framing) ? 'done' : this.#isChunked ? 'size' : 'data'
  }

  get isDone(): boolean {
    return this.#state === 'done'
  }

  /** Whether it ends when the connection does. */
  get isOpenEnded(): boolean {
    return this.#state === 'rest'
  }

  /** After a problem nothing more may be given. */
  take(chunk: Buffer): Taken {
    if (this.#state === 'rest') return { pass: [chunk], used: chunk.length }
    const pass: Buffer[] = []
    let at = 0
    let from = 0
    while (at < chunk.length && this.#state !== 'done') {
      if (this.#state === 'data') {
        const length = Math.min(this.#left, chunk.length - at)
        at += length
        this.#left -= length
        if (this.#left === 0) this.#state = this.#isChunked ? 'data end' : 'done'
        continue
      }
      const begin = at
      const isCut = this.#line !== ''
      const end = chunk.indexOf(LF, at)
      const next = end < 0 ? chunk.length : end + 1
      this.#line += chunk.toString('latin1', at, next)
      at = next
      if (this.#line.length > MAX_LINE_BYTES)
        return { pass, used: at, problem: 'a line of the body is too long' }
      const isRewritten = this.#state === 'size' && (end < 0 || isCut || this.#line.includes(';'))
      if (isRewritten) {
        if (begin > from) pass.push(chunk.subarray(from, begin))
        from = at
      }
      if (end < 0) break
      const isHeld = this.#state === 'trailers'
      const ended = this.#lineEnds(isRewritten)
      if (typeof ended === 'object') return { pass, used: at, ...ended }
      if (ended !== undefined) pass.push(Buffer.from(ended, 'latin1'))
      if (isHeld) from = at
      else if (this.#state === 'trailers') {
        if (at > from) pass.push(chunk.subarray(from, at))
        from = at
      }
    }
    if (this.#state !== 'trailers' && at > from)
      pass.push(at - from === chunk.length ? chunk : chunk.subarray(from, at))
    return { pass, used: at }
  }

  /** What is to go on instead of the lines that were held, when they are all there. */
  #lineEnds(isRewritten: boolean): string | { problem: string } | undefined {
    const line = this.#line
    this.#line = ''
    if (this.#state === 'size') {
      if (!CHUNK_SIZE.test(line)) return { problem: 'a chunk of the body has no proper size' }
      this.#left = Number.parseInt(line, 16)
      this.#state = this.#left === 0 ? 'trailers' : 'data'
      if (isRewritten) return `${this.#left.toString(16)}\r\n`
    } else if (this.#state === 'data end') {
      if (line !== '\r\n') return { problem: 'a chunk of the body is longer than it says' }
      this.#state = 'size'
    } else if (line === '\r\n') {
      const mended = this.#trailers === '' ? '' : this.#mend(this.#trailers)
      if (typeof mended === 'object') return mended
      this.#state = 'done'
      return `${mended}\r\n`
    } else {
      this.#trailers += line
      if (this.#trailers.length > MAX_TRAILER_BYTES)
        return { problem: 'the trailers of the body are too long' }
    }
    return undefined
  }
}

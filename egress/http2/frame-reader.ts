// Cuts what comes into frames. A body goes on as it comes, without waiting for the end of its frame; everything else is small, and is
// given when it is whole.

import { CODE, FLAG, FRAME, HEAD_BYTES, MAX_FRAME_BYTES } from './frames.ts'

export type FrameListener = {
  /** A part of a body. `size`: what it takes of the windows, its padding included; `isLast`: of its frame. */
  onData(streamId: number, part: Buffer, about: { size: number; isEnd: boolean; isLast: boolean }): void
  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void
  /** Nothing can be read any more. */
  onUnreadable(code: number, problem: string): void
}

const EMPTY = Buffer.alloc(0)

export class FrameReader {
  readonly #to: FrameListener
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #headBytes = 0
  /** Of the frame whose head is there. */
  #type = 0
  #flags = 0
  #streamId = 0
  #left = 0
  /** What has come of a payload that is to be whole. */
  #whole = EMPTY
  #wholeBytes = 0
  #isStopped = false

  constructor(to: FrameListener) {
    this.#to = to
  }

  push(chunk: Buffer): void {
    let at = 0
    while (!this.#isStopped) {
      if (this.#headBytes < HEAD_BYTES) {
        at = this.#readHead(chunk, at)
        if (this.#headBytes < HEAD_BYTES || this.#isStopped) return
      }
      // A frame that is empty has its end here.
      if (at === chunk.length && this.#left > 0) return
      const end = Math.min(chunk.length, at + this.#left)
      const part = chunk.subarray(at, end)
      at = end
      this.#left -= part.length
      if (this.#isStreamed) this.#stream(part)
      else this.#gather(part)
    }
  }

  stop(): void {
    this.#isStopped = true
  }

  get #isStreamed(): boolean {
    return this.#type === FRAME.data && (this.#flags & FLAG.padded) === 0
  }

  /** Gives where it ends in the chunk. */
  #readHead(chunk: Buffer, at: number): number {
    const read = chunk.copy(this.#head, this.#headBytes, at, at + HEAD_BYTES - this.#headBytes)
    this.#headBytes += read
    if (this.#headBytes < HEAD_BYTES) return at + read
    const head = this.#head
    this.#left = head.readUIntBE(0, 3)
    this.#type = head[3] ?? 0
    this.#flags = head[4] ?? 0
    this.#streamId = head.readUInt32BE(5) & 0x7fffffff
    if (this.#left > MAX_FRAME_BYTES)
      this.#fail(CODE.frameSize, `a frame of ${this.#left} bytes, where ${MAX_FRAME_BYTES} are allowed`)
    return at + read
  }

  #stream(part: Buffer): void {
    const isLast = this.#left === 0
    const isEnd = isLast && (this.#flags & FLAG.endStream) !== 0
    if (isLast) this.#headBytes = 0
    this.#to.onData(this.#streamId, part, { size: part.length, isEnd, isLast })
  }

  #gather(part: Buffer): void {
    const isWhole = this.#left === 0
    if (!isWhole || this.#wholeBytes > 0) {
      if (this.#wholeBytes === 0) this.#whole = Buffer.allocUnsafe(part.length + this.#left)
      this.#wholeBytes += part.copy(this.#whole, this.#wholeBytes)
    }
    if (!isWhole) return
    const payload = this.#wholeBytes > 0 ? this.#whole : part
    this.#whole = EMPTY
    this.#wholeBytes = 0
    this.#headBytes = 0
    if (this.#type === FRAME.data) this.#givePadded(payload)
    else this.#to.onFrame(this.#type, this.#flags, this.#streamId, payload)
  }

  #givePadded(payload: Buffer): void {
    const inner = withoutPadding(payload)
    if (!inner) {
      this.#fail(CODE.protocol, 'padding that is longer than its frame')
      return
    }
    const isEnd = (this.#flags & FLAG.endStream) !== 0
    this.#to.onData(this.#streamId, inner, { size: payload.length, isEnd, isLast: true })
  }

  #fail(code: number, problem: string): void {
    this.#isStopped = true
    this.#to.onUnreadable(code, problem)
  }
}

/** Of a frame whose flags say that it is padded. Undefined: it cannot be. */
export function withoutPadding(payload: Buffer): Buffer | undefined {
  const [padding] = payload
  if (padding === undefined || padding >= payload.length) return undefined
  return payload.subarray(1, payload.length - padding)
}

// One request and its answer (RFC 9113 5.1). What it sends waits for the windows of the other side; what comes is granted anew when whoever
// took it has let it go, so that no more of it is kept than one window.

import { CODE, MAX_WINDOW_BYTES } from './frames.ts'
import type { ReceivedField } from './head.ts'
import type { FieldToSend } from './hpack/encoder.ts'
import { PendingBytes } from './pending-bytes.ts'

/** What is heard of a stream. After `onClose`, which comes once, nothing more. */
export type StreamListener = {
  /** An answer before the answer. */
  onInterim(status: number, fields: readonly ReceivedField[]): void
  /** `isWhole`: it has no body. */
  onAnswer(status: number, fields: readonly ReceivedField[], isWhole: boolean): void
  /** It counts as held until the stream is told that it was let go, or is broken off. `isLast`: the end comes next. */
  onData(part: Buffer, isLast: boolean): void
  onTrailers(fields: readonly ReceivedField[]): void
  /** Nothing more comes. */
  onEnd(): void
  /** So much of what was given to `send` is on its way. */
  onSent(bytes: number): void
  /** Why it is over; zero when both sides have ended. */
  onClose(code: number): void
}

/** What a stream needs of its connection. */
export type StreamCarrier = {
  writeFields(stream: Http2Stream, fields: readonly FieldToSend[], isEnd: boolean): void
  /** Sends of its body what may be sent. */
  pump(stream: Http2Stream): void
  writeReset(stream: Http2Stream, code: number): void
  /** Lets the other side send more. */
  grant(stream: Http2Stream, bytes: number): void
  forget(stream: Http2Stream): void
}

export class Http2Stream {
  readonly listener: StreamListener
  readonly #carrier: StreamCarrier
  /** Zero until it has begun. */
  id = 0
  sendWindow: number
  /** What the other side may send. */
  receiveWindow: number
  /** What has come and is still in the hands of the listener. */
  heldBytes = 0
  /** What was let go, and is not granted anew yet. */
  ungrantedBytes = 0
  /** Of its body, what the other side has said and what has come. */
  expectedBytes: number | undefined
  cameBytes = 0
  hasHeadCome = false
  /** Its answer has no body, whatever it says. */
  isHeadRequest = false
  readonly #pending = new PendingBytes()
  #trailers: readonly FieldToSend[] | undefined
  #endsAfterBody = false
  #endsEarly = false
  #isEndSent = false
  #hasRemoteEnded = false
  #isClosed = false

  constructor(
    carrier: StreamCarrier,
    listener: StreamListener,
    windows: { sendWindow: number; receiveWindow: number },
  ) {
    this.#carrier = carrier
    this.listener = listener
    this.sendWindow = windows.sendWindow
    this.receiveWindow = windows.receiveWindow
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get hasRemoteEnded(): boolean {
    return this.#hasRemoteEnded
  }

  /** Whether something of its body waits, or its end. */
  get hasWaiting(): boolean {
    return !this.#isClosed && !this.#isEndSent && (this.#pending.length > 0 || this.#endsAfterBody)
  }

  get pendingBytes(): number {
    return this.#pending.length
  }

  sendHead(fields: readonly FieldToSend[], isEnd: boolean): void {
    if (this.#isClosed || this.#isEndSent) return
    this.#carrier.writeFields(this, fields, isEnd)
    if (isEnd) this.#sentEnd()
  }

  send(part: Buffer, isEnd: boolean): void {
    if (this.#isClosed || this.#endsAfterBody || this.#isEndSent) return
    if (part.length > 0) this.#pending.push(part)
    this.#endsAfterBody = isEnd
    this.#carrier.pump(this)
  }

  /** Ends it with fields behind the body. */
  sendTrailers(fields: readonly FieldToSend[]): void {
    if (this.#isClosed || this.#endsAfterBody || this.#isEndSent) return
    this.#trailers = fields.length > 0 ? fields : undefined
    this.#endsAfterBody = true
    this.#carrier.pump(this)
  }

  /** What is sent is all: of what the other side has not sent yet, nothing is needed. */
  endEarly(): void {
    this.#endsEarly = true
    if (this.#isEndSent) this.reset(CODE.none)
  }

  reset(code: number): void {
    if (this.#isClosed) return
    this.#carrier.writeReset(this, code)
    this.close(code)
  }

  /** Both sides have ended it: what came of it may still be held. */
  get isComplete(): boolean {
    return this.#isEndSent && this.#hasRemoteEnded
  }

  /** Nobody keeps so many bytes of what came any more. */
  letGo(bytes: number): void {
    this.#carrier.grant(this, bytes)
  }

  /** The next piece of what waits, which is empty when only the end does. */
  take(maxBytes: number): { part: Buffer; isEnd: boolean } {
    const part = this.#pending.take(maxBytes)
    const isEnd = this.#endsAfterBody && this.#pending.length === 0 && this.#trailers === undefined
    return { part, isEnd }
  }

  /** A piece is on its way. */
  sent(bytes: number, isEnd: boolean): void {
    if (isEnd) this.#sentEnd()
    if (bytes > 0) this.listener.onSent(bytes)
    if (this.#trailers === undefined || this.#pending.length > 0 || this.#isClosed || this.#isEndSent) return
    this.#carrier.writeFields(this, this.#trailers, true)
    this.#sentEnd()
  }

  remoteEnded(): void {
    this.#hasRemoteEnded = true
    this.listener.onEnd()
    this.#closeWhenOver()
  }

  /** Says that it is over, once. */
  close(code: number): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#pending.clear()
    this.#carrier.forget(this)
    this.listener.onClose(code)
  }

  /** By what the other side has said; false: it would be more than there can be. */
  widen(bytes: number): boolean {
    this.sendWindow += bytes
    return this.sendWindow <= MAX_WINDOW_BYTES
  }

  #sentEnd(): void {
    this.#isEndSent = true
    if (this.#endsEarly && !this.#hasRemoteEnded) this.reset(CODE.none)
    else this.#closeWhenOver()
  }

  #closeWhenOver(): void {
    if (this.isComplete) this.close(CODE.none)
  }
}

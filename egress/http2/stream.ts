// One request and its answer (RFC 9113 5.1). What it sends waits for the windows of the other side; what comes is granted anew when whoever
// took it has let it go, so that no more of it is kept than one window.

import { CODE, MAX_WINDOW_BYTES } from './frames.ts'
import { readAnswerHead, readTrailers } from './head.ts'
import type { ReceivedField } from './hpack/decoder.ts'
import type { FieldToSend } from './hpack/encoder.ts'
import { PendingBytes } from './pending-bytes.ts'
import { ReceiveWindow } from './receive-window.ts'

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
  /** Why it is over; zero when both sides have ended it, or one needs no more. */
  onClose(code: number): void
}

/** What a stream needs of its connection. */
export type StreamCarrier = {
  writeFields(stream: Http2Stream, fields: readonly FieldToSend[], isEnd: boolean): void
  /** Sends of its body what may be sent. */
  pump(stream: Http2Stream): void
  writeReset(stream: Http2Stream, code: number): void
  /** Lets the other side send on this stream what was granted, and more than before if there is room for it. */
  widen(stream: Http2Stream, granted: number): void
  /** So much of what came is not kept any more. */
  letGo(stream: Http2Stream, bytes: number): void
  /** It is over. */
  forget(stream: Http2Stream): void
}

export type StreamOptions = {
  sendWindow: number
  /** What the other side may send at first before we let go of it. */
  windowBytes: number
  isHeadRequest: boolean
}

export class Http2Stream {
  readonly #listener: StreamListener
  readonly #carrier: StreamCarrier
  /** Zero until it has begun. */
  id = 0
  sendWindow: number
  readonly receiveWindow: ReceiveWindow
  /** Of its body, what the other side has said and what has come. */
  #expectedBytes: number | undefined
  #cameBytes = 0
  #hasHeadCome = false
  readonly #isHeadRequest: boolean
  readonly #pending = new PendingBytes()
  #takenBytes = 0
  #isGivenUp = false
  #trailers: readonly FieldToSend[] | undefined
  #endsAfterBody = false
  #endsEarly = false
  #isEndSent = false
  #hasRemoteEnded = false
  #isClosed = false

  constructor(
    carrier: StreamCarrier,
    listener: StreamListener,
    { sendWindow, windowBytes, isHeadRequest }: StreamOptions,
  ) {
    this.#carrier = carrier
    this.#listener = listener
    this.sendWindow = sendWindow
    this.receiveWindow = new ReceiveWindow(windowBytes)
    this.#isHeadRequest = isHeadRequest
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

  /** What went on its way of its body. */
  get takenBytes(): number {
    return this.#takenBytes
  }

  /** Whether it was broken off as the other side took nothing of what waited. */
  get isGivenUp(): boolean {
    return this.#isGivenUp
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

  /** Ends it, with fields behind the body if there are any. */
  sendTrailers(fields: readonly FieldToSend[]): void {
    if (this.#isClosed || this.#endsAfterBody || this.#isEndSent) return
    this.#trailers = fields.length > 0 ? fields : undefined
    this.#endsAfterBody = true
    this.#carrier.pump(this)
  }

  /** What is sent is all: of what the other side has not sent yet, nothing is needed. */
  endEarly(): void {
    this.#endsEarly = true
    if (this.#isEndSent) this.#resetLater()
  }

  /** Breaks it off, as the other side takes nothing of what waits. */
  giveUp(): void {
    this.#isGivenUp = true
    this.reset(CODE.cancel)
  }

  reset(code: number): void {
    if (this.#isClosed) return
    this.#carrier.writeReset(this, code)
    this.close(code)
  }

  /** Nobody keeps so many bytes of what came any more. */
  letGo(bytes: number): void {
    const window = this.receiveWindow
    this.#carrier.letGo(this, window.letGo(bytes))
    if (this.#isClosed || this.#hasRemoteEnded) return
    const granted = window.grant(window.bytes / 2)
    if (granted > 0) this.#carrier.widen(this, granted)
  }

  /** By what the other side has said; false: it would be more than there can be. */
  widen(bytes: number): boolean {
    this.sendWindow += bytes
    return this.sendWindow <= MAX_WINDOW_BYTES
  }

  /** The next piece of what waits, which is empty when only the end does. */
  take(maxBytes: number): { part: Buffer; isEnd: boolean } {
    const part = this.#pending.take(maxBytes)
    const isEnd = this.#endsAfterBody && this.#pending.length === 0 && this.#trailers === undefined
    this.sendWindow -= part.length
    this.#takenBytes += part.length
    return { part, isEnd }
  }

  /** A piece is on its way. */
  sent(bytes: number, isEnd: boolean): void {
    if (isEnd) this.#sentEnd()
    if (bytes > 0) this.#listener.onSent(bytes)
    if (this.#trailers === undefined || this.#pending.length > 0 || this.#isClosed || this.#isEndSent) return
    this.#carrier.writeFields(this, this.#trailers, true)
    this.#sentEnd()
  }

  /** The head of the request that began it has come. Gives what is wrong, like those below. */
  receiveRequest(expectedBytes: number | undefined, isWhole: boolean): number | undefined {
    this.#hasHeadCome = true
    this.#expectedBytes = expectedBytes
    return isWhole && (expectedBytes ?? 0) > 0 ? CODE.protocol : undefined
  }

  /** Fields that are neither of them: a head of an answer, or trailers. */
  receiveFields(fields: readonly ReceivedField[], isEnd: boolean): number | undefined {
    return this.#hasHeadCome ? this.#receiveTrailers(fields, isEnd) : this.#receiveAnswer(fields, isEnd)
  }

  receiveData(part: Buffer, size: number, isEnd: boolean): number | undefined {
    this.#cameBytes += part.length
    if (!this.receiveWindow.receive(size)) return CODE.flowControl
    if (this.#hasRemoteEnded) return CODE.streamClosed
    const isTooMuch = this.#expectedBytes !== undefined && this.#cameBytes > this.#expectedBytes
    if (!this.#hasHeadCome || isTooMuch || (isEnd && !this.#isLengthKept)) return CODE.protocol
    if (part.length > 0) this.#listener.onData(part, isEnd)
    if (size > part.length) this.letGo(size - part.length)
    if (isEnd) this.receiveEnd()
    return undefined
  }

  receiveEnd(): void {
    if (this.#isClosed) return
    this.#hasRemoteEnded = true
    this.#listener.onEnd()
    this.#closeWhenOver()
  }

  /** Says that it is over, once. */
  close(code: number): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#pending.clear()
    this.#carrier.forget(this)
    // Of one that is complete, all may still be on its way to somebody who reads slowly.
    if (!this.#isComplete) this.letGo(this.receiveWindow.heldBytes)
    this.#listener.onClose(code)
  }

  #receiveAnswer(fields: readonly ReceivedField[], isEnd: boolean): number | undefined {
    const head = readAnswerHead(fields)
    if ('problem' in head) return CODE.protocol
    const { status } = head
    if (status < 200) {
      if (isEnd || status === 101) return CODE.protocol
      this.#listener.onInterim(status, head.fields)
      return undefined
    }
    this.#hasHeadCome = true
    const hasNoBody = this.#isHeadRequest || status === 204 || status === 304
    this.#expectedBytes = hasNoBody ? 0 : head.length
    if (isEnd && !this.#isLengthKept) return CODE.protocol
    this.#listener.onAnswer(status, head.fields, isEnd)
    if (isEnd) this.receiveEnd()
    return undefined
  }

  #receiveTrailers(fields: readonly ReceivedField[], isEnd: boolean): number | undefined {
    if (this.#hasRemoteEnded) return CODE.streamClosed
    const trailers = readTrailers(fields)
    if ('problem' in trailers || !isEnd || !this.#isLengthKept) return CODE.protocol
    this.#listener.onTrailers(trailers)
    this.receiveEnd()
    return undefined
  }

  /** Whether as much has come as was said. */
  get #isLengthKept(): boolean {
    return this.#expectedBytes === undefined || this.#expectedBytes === this.#cameBytes
  }

  get #isComplete(): boolean {
    return this.#isEndSent && this.#hasRemoteEnded
  }

  #sentEnd(): void {
    this.#isEndSent = true
    if (this.#endsEarly && !this.#hasRemoteEnded) this.#resetLater()
    else this.#closeWhenOver()
  }

  /** In another piece than the answer: who reads both at once, as curl 7.88 does, takes the answer for lost. */
  #resetLater(): void {
    setImmediate(() => this.reset(CODE.none))
  }

  #closeWhenOver(): void {
    if (this.#isComplete) this.close(CODE.none)
  }
}

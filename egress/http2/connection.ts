// One connection of HTTP/2 (RFC 9113), of a client or of a server, on any socket. Written for requests that are read on their way, of which
// there are many at a time from whom nobody trusts: it keeps no object of the runtime for a stream, sends what a turn has made in one
// piece, and bounds what either side can make it do or keep (docs/decisions/own-http2.md).

import type { Duplex } from 'node:stream'
import type { StallWatch } from '../stall-watch.ts'
import { Stalls } from '../stalls.ts'
import { Allowance } from './allowance.ts'
import { CODE, DEFAULT_WINDOW_BYTES, FLAG, FRAME, MAX_STREAM_ID, PREFACE } from './frames.ts'
import { type RequestHead, readRequestHead } from './head.ts'
import type { DecodedBlock } from './hpack/decoder.ts'
import type { FieldToSend } from './hpack/encoder.ts'
import { Incoming, type IncomingListener, MAX_LIST_BYTES } from './incoming.ts'
import { Outgoing } from './outgoing.ts'
import { ReceiveShares, shareLimits } from './receive-shares.ts'
import { formatSettings, type Settings, UNSAID } from './settings.ts'
import { Http2Stream, type StreamCarrier, type StreamListener } from './stream.ts'

export type RequestListener = StreamListener & {
  /** Comes first. `isWhole`: it has no body. */
  onRequest(stream: Http2Stream, head: RequestHead, isWhole: boolean): void
  /** Comes instead of it: the head is too long, and this is what came first of it. */
  onTooLong(stream: Http2Stream, head: RequestHead): void
}

export type Http2ConnectionOptions = {
  socket: Duplex
  /** Who hears of a request, for whoever is the server. Absent: we are the client. */
  serve?: () => RequestListener
  /** How long there may be no stream. */
  idleMs: number
  /** What the other side may send at most on a stream before we let go of it; on all together, a multiple. */
  windowBytes?: number
  /** Finds streams of which the other side takes nothing. */
  stalls?: Pick<StallWatch, 'watch' | 'limitMs'>
  /** It takes no more requests. */
  onClosing?: () => void
}

export type RequestOptions = { listener: StreamListener; isWhole: boolean; isHead: boolean }

const WINDOW_BYTES = 1024 * 1024
/** What a client may have under way at a time. */
const MAX_STREAMS = 128
/** How long the other side may take to read why its connection ends. */
const LINGER_MS = 3000
/** Streams that end by the client's doing: they cost it nothing, and us what was begun (CVE-2023-44487, CVE-2025-8671). */
const BROKEN_STREAMS = { burst: 200, perSecond: 20 }
const EMPTY = Buffer.alloc(0)

type Waiting = { stream: Http2Stream; fields: readonly FieldToSend[]; isWhole: boolean }

export class Http2Connection {
  readonly #options: Http2ConnectionOptions
  readonly #socket: Duplex
  readonly #isServer: boolean
  readonly #outgoing: Outgoing
  readonly #incoming: Incoming
  readonly #streams = new Map<number, Http2Stream>()
  /** Requests for which the server has no room yet. */
  readonly #waiting: Waiting[] = []
  readonly #brokenStreams = new Allowance(BROKEN_STREAMS)
  readonly #shares: ReceiveShares
  readonly #idleTimer: NodeJS.Timeout
  readonly #unwatch: () => void
  #peer: Settings = UNSAID
  /** Of the stream that was begun last. */
  #lastId = 0
  #isClosing = false
  #isOver = false

  constructor(options: Http2ConnectionOptions) {
    const { socket, serve, idleMs, stalls, windowBytes = WINDOW_BYTES } = options
    this.#options = options
    this.#socket = socket
    this.#isServer = serve !== undefined
    this.#shares = new ReceiveShares(shareLimits({ isClient: this.#isServer, mostBytes: windowBytes }))
    this.#outgoing = new Outgoing(socket, {
      onFull: () => this.destroy(),
      // A client that does not read is not listened to: each of its requests would be one more answer to keep. What a server says may be
      // what it waits for others to read.
      onStalled: (isStalled) => {
        if (!this.#isServer) return
        if (isStalled) socket.pause()
        else socket.resume()
      },
    })
    this.#incoming = new Incoming(this.#listener, { isServer: this.#isServer })
    this.#idleTimer = setTimeout(() => this.#waitedTooLong(), idleMs)
    this.#unwatch = stalls ? this.#watch(stalls) : () => {}
    socket
      .on('data', (chunk: Buffer) => this.#incoming.push(chunk))
      .on('end', () => this.destroy())
      .on('error', () => this.destroy())
      .on('close', () => this.#gone())
    this.#introduce()
    if (socket.destroyed) this.#gone()
  }

  /** Whether a request may be made. */
  get isOpen(): boolean {
    return !this.#isClosing && !this.#isOver
  }

  /** Whether another request would have to wait for one of those before it. */
  get isFull(): boolean {
    return this.streamCount >= this.#peer.maxStreams || !this.#shares.hasRoomFor(this.#waiting.length + 1)
  }

  /** Whether so much of what came is still in the hands of listeners, or may come, that others have little of it. */
  get isClogged(): boolean {
    return this.#shares.isClogged
  }

  get streamCount(): number {
    return this.#streams.size + this.#waiting.length
  }

  request(fields: readonly FieldToSend[], { listener, isWhole, isHead }: RequestOptions): Http2Stream {
    const stream = this.#createStream(listener, isHead)
    if (!this.isOpen) queueMicrotask(() => stream.close(CODE.refusedStream))
    else if (this.isFull) this.#waiting.push({ stream, fields, isWhole })
    else this.#begin({ stream, fields, isWhole })
    return stream
  }

  /** No more requests; the connection ends when those are over that were begun. */
  close(): void {
    if (!this.isOpen) return
    this.#outgoing.writeGoaway(this.#lastPeerId)
    this.#stopRequests()
  }

  destroy(): void {
    this.#socket.destroy()
    this.#gone()
  }

  #watch(watch: Pick<StallWatch, 'watch' | 'limitMs'>): () => void {
    const stalls = new Stalls<Http2Stream>(watch.limitMs)
    return watch.watch((now) => {
      for (const stream of stalls.look(this.#outgoing.waiting(), now)) stream.giveUp()
    })
  }

  #introduce(): void {
    const maxStreams = this.#isServer ? MAX_STREAMS : 0
    const { bytes, firstBytes } = this.#shares.limits
    const ours = { maxStreams, windowBytes: firstBytes, maxListBytes: MAX_LIST_BYTES }
    if (!this.#isServer) this.#outgoing.writeBytes(PREFACE)
    this.#outgoing.write(FRAME.settings, 0, 0, formatSettings(ours))
    this.#outgoing.writeWindowUpdate(0, bytes - DEFAULT_WINDOW_BYTES)
  }

  #createStream(listener: StreamListener, isHeadRequest: boolean): Http2Stream {
    return new Http2Stream(this.#carrier, listener, {
      sendWindow: this.#peer.windowBytes,
      windowBytes: this.#shares.limits.firstBytes,
      isHeadRequest,
    })
  }

  #begin({ stream, fields, isWhole }: Waiting): void {
    const id = this.#lastId === 0 ? 1 : this.#lastId + 2
    this.#lastId = id
    stream.id = id
    this.#streams.set(id, stream)
    this.#shares.begin()
    // The numbers are used up.
    if (id + 2 > MAX_STREAM_ID) this.close()
    stream.sendHead(fields, isWhole)
    const early = this.#shares.growEarly(stream.receiveWindow)
    if (early > 0) this.#outgoing.writeWindowUpdate(id, early)
    this.#outgoing.pump(stream)
  }

  #beginWaiting(): void {
    while (this.#streams.size < this.#peer.maxStreams && this.#shares.hasRoomFor(1)) {
      const next = this.#waiting.shift()
      if (!next) return
      this.#begin(next)
    }
  }

  readonly #listener: IncomingListener = {
    onFields: (streamId, block, isEnd) => this.#onFields(streamId, block, isEnd),
    onData: (streamId, part, size, isEnd) => {
      const isAllowed = this.#shares.receive(size)
      const stream = this.#streams.get(streamId)
      if (!isAllowed) this.#fail(CODE.flowControl, 'more than the connection may have')
      else if (stream) this.#judge(stream, stream.receiveData(part, size, isEnd))
      else if (this.#wasBegun(streamId)) this.#letGo(size, { isOver: false })
    },
    onReset: (streamId, code) => {
      const stream = this.#streams.get(streamId)
      if (!stream) this.#wasBegun(streamId)
      else if (this.#mayBreak())
        stream.close(code === CODE.none && !stream.hasRemoteEnded ? CODE.cancel : code)
    },
    onSettings: (said) => this.#onSettings(said),
    onPing: (payload) => this.#outgoing.write(FRAME.ping, FLAG.ack, 0, payload),
    onGoaway: (lastId) => {
      if (this.#isServer) {
        this.close()
        return
      }
      this.#stopRequests()
      for (const [id, stream] of [...this.#streams]) if (id > lastId) stream.close(CODE.refusedStream)
    },
    onWindowUpdate: (streamId, bytes) => this.#onWindowUpdate(streamId, bytes),
    onFault: (code, problem) => this.#fail(code, problem),
  }

  #onFields(id: number, block: DecodedBlock, isEnd: boolean): void {
    const stream = this.#streams.get(id)
    const { fields, isTooLarge } = block
    if (stream) this.#judge(stream, isTooLarge ? CODE.enhanceYourCalm : stream.receiveFields(fields, isEnd))
    else if (this.#isServer && id % 2 === 1 && id > this.#lastId) this.#onRequest(id, block, isEnd)
    // What is behind a stream that was broken off.
    else if (this.#wasBegun(id)) this.#incoming.countIdleFrame()
  }

  #onRequest(id: number, { fields, isTooLarge }: DecodedBlock, isWhole: boolean): void {
    // The client hears that it was not begun.
    if (!this.isOpen) return
    this.#lastId = id
    const head = readRequestHead(fields, { isCut: isTooLarge })
    if (this.#streams.size >= MAX_STREAMS) this.#refuse(id, CODE.refusedStream)
    else if ('problem' in head) this.#refuse(id, CODE.protocol)
    // It is answered, but counts like one that is broken off.
    else if (!isTooLarge || this.#mayBreak()) this.#serve(id, head, { isWhole, isTooLarge })
  }

  #serve(
    id: number,
    head: RequestHead,
    { isWhole, isTooLarge }: { isWhole: boolean; isTooLarge: boolean },
  ): void {
    const listener = this.#options.serve?.()
    if (!listener) return
    const stream = this.#createStream(listener, false)
    stream.id = id
    this.#streams.set(id, stream)
    this.#shares.begin()
    const wrong = stream.receiveRequest(head.length, isWhole)
    if (wrong !== undefined) this.#judge(stream, wrong)
    else if (isTooLarge) listener.onTooLong(stream, head)
    else listener.onRequest(stream, head, isWhole)
    if (isWhole) stream.receiveEnd()
  }

  #onSettings(said: Partial<Settings>): void {
    const before = this.#peer
    // Who has spoken and said nothing of it takes as many as there are.
    const unsaid = before === UNSAID ? { ...UNSAID, maxStreams: Number.POSITIVE_INFINITY } : before
    this.#peer = { ...unsaid, ...said }
    if (said.tableBytes !== undefined) this.#outgoing.limitTable(said.tableBytes)
    this.#outgoing.write(FRAME.settings, FLAG.ack, 0, EMPTY)
    const wider = this.#peer.windowBytes - before.windowBytes
    for (const stream of [...this.#streams.values(), ...this.#waiting.map(({ stream }) => stream)])
      if (!stream.widen(wider)) {
        this.#fail(CODE.flowControl, 'a window above 2^31-1')
        return
      }
    this.#beginWaiting()
    this.#outgoing.pumpAll()
  }

  #onWindowUpdate(streamId: number, bytes: number): void {
    const stream = this.#streams.get(streamId)
    if (streamId === 0) {
      if (bytes === 0) this.#fail(CODE.protocol, 'a window that is wider by nothing')
      else if (!this.#outgoing.widen(bytes)) this.#fail(CODE.flowControl, 'a window above 2^31-1')
    } else if (!stream) this.#wasBegun(streamId)
    else if (bytes === 0) this.#judge(stream, CODE.protocol)
    else if (!stream.widen(bytes)) this.#judge(stream, CODE.flowControl)
    else this.#outgoing.pump(stream)
  }

  /** Nothing may be said of a stream that was never begun, except by a client that has not heard that it was too late to begin it. */
  #wasBegun(id: number): boolean {
    const wasBegun = id % 2 === 1 && (id <= this.#lastId || (this.#isServer && this.#isClosing))
    if (!wasBegun) this.#fail(CODE.protocol, `stream ${id} was not begun`)
    return wasBegun
  }

  readonly #carrier: StreamCarrier = {
    writeFields: ({ id }, fields, isEnd) => this.#outgoing.writeFields(id, fields, isEnd),
    pump: (stream) => this.#outgoing.pump(stream),
    writeReset: ({ id }, code) => {
      if (id !== 0) this.#outgoing.writeReset(id, code)
    },
    widen: ({ id, receiveWindow }, granted) =>
      this.#outgoing.writeWindowUpdate(id, granted + this.#shares.grow(receiveWindow)),
    letGo: ({ isClosed }, bytes) => this.#letGo(bytes, { isOver: isClosed }),
    forget: (stream) => this.#forget(stream),
  }

  #forget(stream: Http2Stream): void {
    this.#outgoing.forget(stream)
    if (stream.id !== 0) {
      this.#streams.delete(stream.id)
      this.#shares.end(stream.receiveWindow)
    } else {
      const at = this.#waiting.findIndex((waiting) => waiting.stream === stream)
      if (at >= 0) this.#waiting.splice(at, 1)
    }
    if (this.#isOver) return
    this.#beginWaiting()
    if (this.streamCount > 0) return
    this.#idleTimer.refresh()
    if (this.#isClosing) this.#outgoing.end(this.#options.idleMs)
  }

  #letGo(bytes: number, of: { isOver: boolean }): void {
    const granted = this.#shares.letGo(bytes, of)
    if (this.#isOver) return
    if (granted > 0) this.#outgoing.writeWindowUpdate(0, granted)
    if (this.#waiting.length > 0) this.#beginWaiting()
  }

  /** Ends a stream for what the other side has done, if it was wrong. */
  #judge(stream: Http2Stream, wrong: number | undefined): void {
    if (wrong !== undefined && this.#mayBreak()) stream.reset(wrong)
  }

  #refuse(id: number, code: number): void {
    if (this.#mayBreak()) this.#outgoing.writeReset(id, code)
  }

  /** Servers get nothing out of it. */
  #mayBreak(): boolean {
    if (!this.#isServer || this.#brokenStreams.take()) return true
    this.#fail(CODE.enhanceYourCalm, 'too many streams that are broken off')
    return false
  }

  /** Nothing of the connection can be used any more; the other side hears why. */
  #fail(code: number, problem: string): void {
    if (this.#isOver) return
    this.#outgoing.writeGoaway(this.#lastPeerId, code, problem)
    this.#finish(code)
    this.#outgoing.end(LINGER_MS)
  }

  /** Of the streams that the other side begins. */
  get #lastPeerId(): number {
    return this.#isServer ? this.#lastId : 0
  }

  #stopRequests(): void {
    if (!this.isOpen) return
    this.#isClosing = true
    this.#options.onClosing?.()
    for (const { stream } of this.#waiting.splice(0)) stream.close(CODE.refusedStream)
    if (this.streamCount === 0) this.#outgoing.end(this.#options.idleMs)
  }

  #waitedTooLong(): void {
    if (this.streamCount === 0) this.close()
  }

  #gone(): void {
    if (!this.#isOver) this.#finish(CODE.internal)
  }

  #finish(code: number): void {
    this.#isOver = true
    this.#incoming.stop()
    clearTimeout(this.#idleTimer)
    this.#unwatch()
    if (!this.#isClosing) this.#options.onClosing?.()
    for (const { stream } of this.#waiting.splice(0)) stream.close(code)
    for (const stream of [...this.#streams.values()]) stream.close(code)
  }
}

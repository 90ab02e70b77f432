// One connection of HTTP/2 (RFC 9113), of a client or of a server, on any socket. Written for requests that are read on their way, of which
// there are many at a time from whom nobody trusts: it keeps no object of the runtime for a stream, sends what a turn has made in one
// piece, and bounds what either side can make it do or keep (docs/decisions/own-http2.md).

import type { Duplex } from 'node:stream'
import { MAX_HTTP2_STREAMS } from '../../lib/http2-limits.ts'
import { Allowance } from './allowance.ts'
import { FieldBlock, fieldsOf } from './field-block.ts'
import { type FrameListener, FrameReader } from './frame-reader.ts'
import {
  CODE,
  DEFAULT_WINDOW_BYTES,
  FLAG,
  FRAME,
  formatFieldBlock,
  formatFrame,
  formatNumbers,
  MAX_FRAME_BYTES,
  MAX_WINDOW_BYTES,
  PREFACE,
} from './frames.ts'
import {
  type ReceivedField,
  type RequestHead,
  readAnswerHead,
  readRequestHead,
  readTrailers,
} from './head.ts'
import { HpackDecoder } from './hpack/decoder.ts'
import { type FieldToSend, HpackEncoder } from './hpack/encoder.ts'
import { Output } from './output.ts'
import { formatSettings, parseSettings, UNSAID } from './settings.ts'
import { Http2Stream, type StreamCarrier, type StreamListener } from './stream.ts'

export type RequestListener = StreamListener & {
  /** Comes first. `isWhole`: it has no body. */
  onRequest(stream: Http2Stream, head: RequestHead, isWhole: boolean): void
}

export type Http2ConnectionOptions = {
  socket: Duplex
  /** Who hears of a request, for whoever is the server. Absent: we are the client. */
  serve?: () => RequestListener
  /** How long there may be no stream. */
  idleMs: number
  /** It takes no more requests. */
  onClosing?: () => void
}

export type RequestOptions = { listener: StreamListener; isWhole: boolean; isHead: boolean }

/** What the other side may send before we let go of it: of one stream, and of all. */
const WINDOW_BYTES = 1024 * 1024
const CONNECTION_WINDOW_BYTES = 4 * WINDOW_BYTES
const MAX_LIST_BYTES = 65_536
const MAX_FIELDS = 160
const TABLE_BYTES = 4096
/** How long the other side may take to read why its connection ends. */
const LINGER_MS = 3000
/** Streams that end by the other side's doing: they cost it nothing, and us what was begun (CVE-2023-44487, CVE-2025-8671). */
const BROKEN_STREAMS = { burst: 200, perSecond: 20 }
/** Frames that say nothing, or want an answer that says nothing. */
const IDLE_FRAMES = { burst: 1000, perSecond: 100 }
const NO_LIMIT = 2 ** 31
const MAX_STREAM_ID = 2 ** 31 - 1
const PING_BYTES = 8
const EMPTY = Buffer.alloc(0)

type Waiting = { stream: Http2Stream; fields: readonly FieldToSend[]; isWhole: boolean }

export class Http2Connection {
  readonly #options: Http2ConnectionOptions
  readonly #socket: Duplex
  readonly #isServer: boolean
  readonly #output: Output
  readonly #reader: FrameReader
  readonly #decoder = new HpackDecoder({
    maxTableBytes: TABLE_BYTES,
    maxListBytes: MAX_LIST_BYTES,
    maxFields: MAX_FIELDS,
  })
  readonly #encoder = new HpackEncoder()
  readonly #streams = new Map<number, Http2Stream>()
  /** Requests for which the server has no room yet. */
  readonly #waiting: Waiting[] = []
  /** Streams of which more waits than may be sent. */
  readonly #blocked = new Set<Http2Stream>()
  readonly #brokenStreams = new Allowance(BROKEN_STREAMS)
  readonly #idleFrames = new Allowance(IDLE_FRAMES)
  readonly #idleTimer: NodeJS.Timeout
  /** How much of the preface of a client has come. */
  #prefaceBytes: number
  #block: FieldBlock | undefined
  #peer = UNSAID
  #hasPeerSettings = false
  #lastId = 0
  #sendWindow = DEFAULT_WINDOW_BYTES
  #receiveWindow = CONNECTION_WINDOW_BYTES
  #ungrantedBytes = 0
  #isClosing = false
  #isEnding = false
  #isOver = false

  constructor(options: Http2ConnectionOptions) {
    const { socket, serve, idleMs } = options
    this.#options = options
    this.#socket = socket
    this.#isServer = serve !== undefined
    this.#prefaceBytes = this.#isServer ? 0 : PREFACE.length
    this.#output = new Output(socket, {
      onDrain: () => this.#pumpBlocked(),
      onFull: () => this.destroy(),
    })
    this.#reader = new FrameReader(this.#frames)
    this.#idleTimer = setTimeout(() => this.#waitedTooLong(), idleMs)
    socket
      .on('data', (chunk: Buffer) => this.#receive(chunk))
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
    return this.#streams.size + this.#waiting.length >= this.#peer.maxStreams
  }

  get streamCount(): number {
    return this.#streams.size + this.#waiting.length
  }

  request(fields: readonly FieldToSend[], { listener, isWhole, isHead }: RequestOptions): Http2Stream {
    const stream = this.#createStream(listener)
    stream.isHeadRequest = isHead
    if (!this.isOpen) {
      queueMicrotask(() => stream.close(CODE.refusedStream))
      return stream
    }
    if (this.#waiting.length === 0 && this.#streams.size < this.#peer.maxStreams)
      this.#begin({ stream, fields, isWhole })
    else this.#waiting.push({ stream, fields, isWhole })
    return stream
  }

  /** No more requests; the connection ends when those are over that were begun. */
  close(): void {
    if (this.#isClosing || this.#isOver) return
    this.#output.write(formatNumbers(FRAME.goaway, 0, [this.#isServer ? this.#lastId : 0, CODE.none]))
    this.#stopRequests()
  }

  destroy(): void {
    this.#socket.destroy()
    this.#gone()
  }

  #introduce(): void {
    if (!this.#isServer) this.#output.write(PREFACE)
    const maxStreams = this.#isServer ? MAX_HTTP2_STREAMS : 0
    this.#write(
      FRAME.settings,
      0,
      0,
      formatSettings({ maxStreams, windowBytes: WINDOW_BYTES, maxListBytes: MAX_LIST_BYTES }),
    )
    this.#writeWindowUpdate(0, CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
  }

  #createStream(listener: StreamListener): Http2Stream {
    return new Http2Stream(this.#carrier, listener, {
      sendWindow: this.#peer.windowBytes,
      receiveWindow: WINDOW_BYTES,
    })
  }

  #begin({ stream, fields, isWhole }: Waiting): void {
    const id = this.#lastId === 0 ? 1 : this.#lastId + 2
    if (id >= MAX_STREAM_ID - 1) this.close()
    this.#lastId = id
    stream.id = id
    this.#streams.set(id, stream)
    stream.sendHead(fields, isWhole)
    this.#pump(stream)
  }

  #beginWaiting(): void {
    while (this.#streams.size < this.#peer.maxStreams) {
      const next = this.#waiting.shift()
      if (!next) return
      this.#begin(next)
    }
  }

  #receive(chunk: Buffer): void {
    if (this.#isOver) return
    let rest = chunk
    if (this.#prefaceBytes < PREFACE.length) {
      const end = Math.min(PREFACE.length, this.#prefaceBytes + chunk.length)
      const expected = PREFACE.subarray(this.#prefaceBytes, end)
      if (!chunk.subarray(0, expected.length).equals(expected)) {
        this.#fail(CODE.protocol, 'something else than the preface of HTTP/2')
        return
      }
      this.#prefaceBytes = end
      rest = chunk.subarray(expected.length)
    }
    this.#reader.push(rest)
  }

  readonly #frames: FrameListener = {
    onData: (streamId, part, { size, isEnd, isLast }) => {
      if (!this.#isInPlace(FRAME.data, streamId)) return
      this.#receiveWindow -= size
      if (this.#receiveWindow < 0) this.#fail(CODE.flowControl, 'more than the connection may have')
      else if (isLast && size === 0 && !isEnd && !this.#idleFrames.take()) this.#tooMuch()
      else this.#onData(streamId, part, { size, isEnd })
    },
    onFrame: (type, flags, streamId, payload) => {
      if (this.#isInPlace(type, streamId)) this.#onFrame(type, flags, streamId, payload)
    },
    onUnreadable: (code, problem) => this.#fail(code, problem),
  }

  /** Whether a frame may come where it does. */
  #isInPlace(type: number, streamId: number): boolean {
    if (!this.#hasPeerSettings && type !== FRAME.settings)
      this.#fail(CODE.protocol, 'something else before the settings')
    else if (this.#block && (type !== FRAME.continuation || streamId !== this.#block.streamId))
      this.#fail(CODE.protocol, 'something else within a head')
    else if (
      type <= FRAME.continuation &&
      isOfStream(type) !== (streamId !== 0) &&
      type !== FRAME.windowUpdate
    )
      this.#fail(CODE.protocol, `a frame of type ${type} on stream ${streamId}`)
    else return true
    return false
  }

  #onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    switch (type) {
      case FRAME.headers: {
        const fields = fieldsOf(payload, flags)
        if (fields) this.#onFields(new FieldBlock(streamId, (flags & FLAG.endStream) !== 0, fields), flags)
        else this.#fail(CODE.protocol, 'padding that is longer than its frame')
        break
      }
      case FRAME.continuation: {
        const problem = this.#block?.add(payload)
        if (problem) this.#fail(problem.code, problem.problem)
        else if (this.#block) this.#onFields(this.#block, flags)
        else this.#fail(CODE.protocol, 'a head that goes on without having begun')
        break
      }
      case FRAME.rstStream:
        if (payload.length === 4) this.#onReset(streamId, payload.readUInt32BE(0))
        else this.#fail(CODE.frameSize, 'an RST_STREAM of another size')
        break
      case FRAME.settings:
        this.#onSettings(payload, (flags & FLAG.ack) !== 0)
        break
      case FRAME.ping:
        this.#onPing(payload, (flags & FLAG.ack) !== 0)
        break
      case FRAME.goaway:
        this.#onGoaway(payload)
        break
      case FRAME.windowUpdate:
        this.#onWindowUpdate(streamId, payload)
        break
      case FRAME.pushPromise:
        this.#fail(CODE.protocol, 'what nobody has asked for')
        break
      // PRIORITY, and what is not known here.
      default:
        if (!this.#idleFrames.take()) this.#tooMuch()
    }
  }

  #onFields(block: FieldBlock, flags: number): void {
    if ((flags & FLAG.endHeaders) === 0) {
      this.#block = block
      return
    }
    this.#block = undefined
    const decoded = this.#decoder.decode(block.whole())
    if (!decoded) {
      this.#fail(CODE.compression, 'a head that cannot be unpacked')
      return
    }
    const { streamId, isEnd } = block
    const fields: readonly ReceivedField[] = decoded.fields
    const sensitive: readonly ReceivedField[] = decoded.sensitive
    for (const field of sensitive) field.isSensitive = true
    const stream = this.#streams.get(streamId)
    if (stream) {
      if (decoded.isTooLarge) this.#breakStream(stream, CODE.enhanceYourCalm)
      else if (stream.hasHeadCome) this.#onTrailers(stream, fields, isEnd)
      else this.#onAnswer(stream, fields, isEnd)
    } else if (this.#isServer) this.#onRequest(streamId, decoded.isTooLarge ? undefined : fields, isEnd)
    else if (this.#isIdle(streamId)) this.#fail(CODE.protocol, 'an answer to nothing')
  }

  /** `fields`: undefined when there are too many. */
  #onRequest(id: number, fields: readonly ReceivedField[] | undefined, isWhole: boolean): void {
    if (id % 2 === 0) {
      this.#fail(CODE.protocol, 'a stream with a number that a client may not give')
      return
    }
    if (id <= this.#lastId) {
      // What is behind a stream that we have broken off.
      if (!this.#idleFrames.take()) this.#tooMuch()
      return
    }
    // The client hears that it was not begun.
    if (this.#isClosing) return
    this.#lastId = id
    if (this.#streams.size >= MAX_HTTP2_STREAMS) {
      this.#refuseStream(id, CODE.refusedStream)
      return
    }
    const head = fields && readRequestHead(fields)
    if (!head || 'problem' in head) {
      this.#refuseStream(id, head ? CODE.protocol : CODE.enhanceYourCalm)
      return
    }
    const listener = this.#options.serve?.()
    if (!listener) return
    const stream = this.#createStream(listener)
    stream.id = id
    stream.hasHeadCome = true
    stream.expectedBytes = head.length
    this.#streams.set(id, stream)
    if (isWhole && (head.length ?? 0) > 0) {
      this.#breakStream(stream, CODE.protocol)
      return
    }
    listener.onRequest(stream, head, isWhole)
    if (isWhole && !stream.isClosed) stream.remoteEnded()
  }

  #onAnswer(stream: Http2Stream, fields: readonly ReceivedField[], isEnd: boolean): void {
    const head = readAnswerHead(fields)
    if ('problem' in head || (head.status < 200 && (isEnd || head.status === 101))) {
      this.#breakStream(stream, CODE.protocol)
      return
    }
    const { status } = head
    if (status < 200) {
      stream.listener.onInterim(status, head.fields)
      return
    }
    stream.hasHeadCome = true
    const hasNoBody = stream.isHeadRequest || status === 204 || status === 304
    stream.expectedBytes = hasNoBody ? 0 : head.length
    if (isEnd && (stream.expectedBytes ?? 0) > 0) {
      this.#breakStream(stream, CODE.protocol)
      return
    }
    stream.listener.onAnswer(status, head.fields, isEnd)
    if (isEnd && !stream.isClosed) stream.remoteEnded()
  }

  #onTrailers(stream: Http2Stream, fields: readonly ReceivedField[], isEnd: boolean): void {
    const trailers = readTrailers(fields)
    if ('problem' in trailers || !isEnd || stream.hasRemoteEnded || !isLengthKept(stream)) {
      this.#breakStream(stream, stream.hasRemoteEnded ? CODE.streamClosed : CODE.protocol)
      return
    }
    stream.listener.onTrailers(trailers)
    if (!stream.isClosed) stream.remoteEnded()
  }

  #onData(streamId: number, part: Buffer, { size, isEnd }: { size: number; isEnd: boolean }): void {
    const stream = this.#streams.get(streamId)
    if (!stream) {
      if (this.#isIdle(streamId)) this.#fail(CODE.protocol, 'a body without a head')
      else this.#grantConnection(size)
      return
    }
    stream.receiveWindow -= size
    stream.cameBytes += part.length
    stream.heldBytes += size
    const isTooMuch = stream.expectedBytes !== undefined && stream.cameBytes > stream.expectedBytes
    if (stream.receiveWindow < 0) this.#breakStream(stream, CODE.flowControl)
    else if (stream.hasRemoteEnded) this.#breakStream(stream, CODE.streamClosed)
    else if (!stream.hasHeadCome || isTooMuch || (isEnd && !isLengthKept(stream)))
      this.#breakStream(stream, CODE.protocol)
    else {
      if (part.length > 0) stream.listener.onData(part, isEnd)
      if (size > part.length) stream.letGo(size - part.length)
      if (isEnd && !stream.isClosed) stream.remoteEnded()
    }
  }

  #onReset(streamId: number, code: number): void {
    const stream = this.#streams.get(streamId)
    if (stream) {
      if (this.#isServer && !this.#brokenStreams.take()) this.#tooMuch()
      else stream.close(code === CODE.none && !stream.hasRemoteEnded ? CODE.cancel : code)
    } else if (this.#isIdle(streamId)) this.#fail(CODE.protocol, 'the end of a stream that was not begun')
  }

  #onSettings(payload: Buffer, isAck: boolean): void {
    if (isAck) {
      if (payload.length > 0) this.#fail(CODE.frameSize, 'settings in an answer to settings')
      return
    }
    const said = parseSettings(payload)
    if ('problem' in said) {
      this.#fail(said.code, said.problem)
      return
    }
    if (this.#hasPeerSettings && !this.#idleFrames.take()) {
      this.#tooMuch()
      return
    }
    const before = this.#peer
    const unsaid = this.#hasPeerSettings ? before : { ...UNSAID, maxStreams: NO_LIMIT }
    this.#peer = { ...unsaid, ...said }
    this.#hasPeerSettings = true
    if (said.tableBytes !== undefined) this.#encoder.limitTable(said.tableBytes)
    this.#write(FRAME.settings, FLAG.ack, 0, EMPTY)
    const wider = this.#peer.windowBytes - before.windowBytes
    for (const stream of [...this.#streams.values(), ...this.#waiting.map(({ stream }) => stream)])
      if (!stream.widen(wider)) {
        this.#fail(CODE.flowControl, 'a window above 2^31-1')
        return
      }
    this.#beginWaiting()
    this.#pumpBlocked()
  }

  #onPing(payload: Buffer, isAck: boolean): void {
    if (payload.length !== PING_BYTES) this.#fail(CODE.frameSize, 'a PING of another size')
    else if (!this.#idleFrames.take()) this.#tooMuch()
    else if (!isAck) this.#write(FRAME.ping, FLAG.ack, 0, payload)
  }

  #onGoaway(payload: Buffer): void {
    if (payload.length < 8) {
      this.#fail(CODE.frameSize, 'a GOAWAY of another size')
      return
    }
    const last = payload.readUInt32BE(0) & MAX_STREAM_ID
    this.#stopRequests()
    if (this.#isServer) return
    for (const { stream } of this.#waiting.splice(0)) stream.close(CODE.refusedStream)
    for (const [id, stream] of [...this.#streams]) if (id > last) stream.close(CODE.refusedStream)
  }

  #onWindowUpdate(streamId: number, payload: Buffer): void {
    if (payload.length !== 4) {
      this.#fail(CODE.frameSize, 'a WINDOW_UPDATE of another size')
      return
    }
    const bytes = payload.readUInt32BE(0) & MAX_WINDOW_BYTES
    if (streamId === 0) {
      this.#sendWindow += bytes
      if (bytes === 0) this.#fail(CODE.protocol, 'a window that is wider by nothing')
      else if (this.#sendWindow > MAX_WINDOW_BYTES) this.#fail(CODE.flowControl, 'a window above 2^31-1')
      else this.#pumpBlocked()
      return
    }
    const stream = this.#streams.get(streamId)
    if (!stream) {
      if (this.#isIdle(streamId)) this.#fail(CODE.protocol, 'a window of a stream that was not begun')
    } else if (bytes === 0) this.#breakStream(stream, CODE.protocol)
    else if (!stream.widen(bytes)) this.#breakStream(stream, CODE.flowControl)
    else this.#pump(stream)
  }

  /** Whether a stream with this number was never begun. */
  #isIdle(streamId: number): boolean {
    return streamId > this.#lastId || streamId % 2 === 0
  }

  readonly #carrier: StreamCarrier = {
    writeFields: (stream, fields, isEnd) => {
      for (const part of formatFieldBlock(stream.id, this.#encoder.encode(fields), isEnd))
        this.#output.write(part)
    },
    pump: (stream) => this.#pump(stream),
    writeReset: (stream, code) => {
      if (stream.id !== 0) this.#output.write(formatNumbers(FRAME.rstStream, stream.id, [code]))
    },
    grant: (stream, bytes) => {
      const granted = Math.min(bytes, stream.heldBytes)
      stream.heldBytes -= granted
      this.#grantConnection(granted)
      stream.ungrantedBytes += granted
      if (stream.isClosed || stream.hasRemoteEnded || stream.ungrantedBytes < WINDOW_BYTES / 2) return
      stream.receiveWindow += stream.ungrantedBytes
      this.#writeWindowUpdate(stream.id, stream.ungrantedBytes)
      stream.ungrantedBytes = 0
    },
    forget: (stream) => this.#forget(stream),
  }

  #forget(stream: Http2Stream): void {
    this.#blocked.delete(stream)
    // Of one that is complete, all may still be on its way to somebody who reads slowly.
    if (!stream.isComplete) this.#carrier.grant(stream, stream.heldBytes)
    if (stream.id !== 0) this.#streams.delete(stream.id)
    else {
      const at = this.#waiting.findIndex((waiting) => waiting.stream === stream)
      if (at >= 0) this.#waiting.splice(at, 1)
    }
    if (this.#isOver) return
    if (this.#waiting.length > 0) this.#beginWaiting()
    if (this.streamCount > 0) return
    this.#idleTimer.refresh()
    if (this.#isClosing) this.#end()
  }

  #grantConnection(bytes: number): void {
    this.#ungrantedBytes += bytes
    if (this.#isOver || this.#ungrantedBytes < CONNECTION_WINDOW_BYTES / 2) return
    this.#receiveWindow += this.#ungrantedBytes
    this.#writeWindowUpdate(0, this.#ungrantedBytes)
    this.#ungrantedBytes = 0
  }

  /** Sends of a stream what may be sent now. */
  #pump(stream: Http2Stream): void {
    // It has not begun.
    if (stream.id === 0) return
    while (stream.hasWaiting)
      if (!this.#sendOne(stream)) {
        this.#blocked.add(stream)
        return
      }
    this.#blocked.delete(stream)
  }

  /** One frame of each stream in turn. */
  #pumpBlocked(): void {
    let hasSent = true
    while (hasSent && this.#blocked.size > 0) {
      hasSent = false
      for (const stream of [...this.#blocked]) {
        if (this.#sendOne(stream)) hasSent = true
        if (!stream.hasWaiting) this.#blocked.delete(stream)
      }
    }
  }

  #sendOne(stream: Http2Stream): boolean {
    if (!stream.hasWaiting) return false
    const room = Math.min(this.#sendWindow, stream.sendWindow, MAX_FRAME_BYTES)
    if (stream.pendingBytes > 0 && (room <= 0 || !this.#output.isOpen)) return false
    const { part, isEnd } = stream.take(Math.max(0, room))
    const { length } = part
    if (length > 0 || isEnd) this.#write(FRAME.data, isEnd ? FLAG.endStream : 0, stream.id, part)
    this.#sendWindow -= length
    stream.sendWindow -= length
    stream.sent(length, isEnd)
    return true
  }

  #write(type: number, flags: number, streamId: number, payload: Buffer): void {
    for (const part of formatFrame(type, flags, streamId, payload)) this.#output.write(part)
  }

  #writeWindowUpdate(streamId: number, bytes: number): void {
    this.#output.write(formatNumbers(FRAME.windowUpdate, streamId, [bytes]))
  }

  /** Ends a stream for what the other side has done. */
  #breakStream(stream: Http2Stream, code: number): void {
    if (this.#isServer && !this.#brokenStreams.take()) this.#tooMuch()
    else stream.reset(code)
  }

  #refuseStream(id: number, code: number): void {
    if (this.#brokenStreams.take()) this.#output.write(formatNumbers(FRAME.rstStream, id, [code]))
    else this.#tooMuch()
  }

  #tooMuch(): void {
    this.#fail(CODE.enhanceYourCalm, 'too much that leads to nothing')
  }

  /** Nothing of the connection can be used any more; the other side hears why. */
  #fail(code: number, problem: string): void {
    if (this.#isOver) return
    const payload = Buffer.alloc(8 + Buffer.byteLength(problem))
    payload.writeUInt32BE(this.#isServer ? this.#lastId : 0, 0)
    payload.writeUInt32BE(code, 4)
    payload.write(problem, 8)
    this.#write(FRAME.goaway, 0, 0, payload)
    this.#finish(code)
    this.#end()
  }

  #stopRequests(): void {
    if (this.#isClosing || this.#isOver) return
    this.#isClosing = true
    this.#options.onClosing?.()
    if (this.streamCount === 0) this.#end()
  }

  #end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.#output.end()
    const timer = setTimeout(() => this.#socket.destroy(), LINGER_MS)
    this.#socket.once('close', () => clearTimeout(timer))
  }

  #waitedTooLong(): void {
    if (this.streamCount === 0) this.close()
  }

  #gone(): void {
    if (!this.#isOver) this.#finish(CODE.internal)
  }

  #finish(code: number): void {
    this.#isOver = true
    this.#reader.stop()
    clearTimeout(this.#idleTimer)
    if (!this.#isClosing) this.#options.onClosing?.()
    for (const { stream } of this.#waiting.splice(0)) stream.close(code)
    for (const stream of [...this.#streams.values()]) stream.close(code)
  }
}

function isOfStream(type: number): boolean {
  return type !== FRAME.settings && type !== FRAME.ping && type !== FRAME.goaway
}

/** Whether as much has come as was said. */
function isLengthKept({ expectedBytes, cameBytes }: Http2Stream): boolean {
  return expectedBytes === undefined || expectedBytes === cameBytes
}

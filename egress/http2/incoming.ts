// What the other side says on one connection, as far as that can be told without knowing its streams: frames in places where they may be,
// heads that are whole and unpacked, and no more of what leads to nothing than anybody needs.

import { Allowance } from './allowance.ts'
import { FieldBlock, fieldsOf } from './field-block.ts'
import { type FrameListener, FrameReader } from './frame-reader.ts'
import { CODE, FLAG, FRAME, MAX_STREAM_ID, MAX_WINDOW_BYTES, PREFACE } from './frames.ts'
import { type DecodedBlock, HpackDecoder } from './hpack/decoder.ts'
import { FIRST_LIMIT_BYTES } from './hpack/field-table.ts'
import { parseSettings, type Settings } from './settings.ts'

export type IncomingListener = {
  /** A head or trailers; when they are too large, what came first of them. */
  onFields(streamId: number, block: DecodedBlock, isEnd: boolean): void
  /** A part of a body. `size`: what it takes of the windows, its padding included. */
  onData(streamId: number, part: Buffer, size: number, isEnd: boolean): void
  onReset(streamId: number, code: number): void
  /** What was said of them. */
  onSettings(said: Partial<Settings>): void
  /** To be answered with the same. */
  onPing(payload: Buffer): void
  /** What comes after that stream was not begun. */
  onGoaway(lastId: number): void
  /** Zero: of the connection. */
  onWindowUpdate(streamId: number, bytes: number): void
  /** Nothing that comes can be used any more (RFC 9113 5.4.1). */
  onFault(code: number, problem: string): void
}

/** What heads may hold, of which the other side is told the size in its settings. */
export const MAX_LIST_BYTES = 65_536
const MAX_FIELDS = 160
/** Frames that say nothing. */
const IDLE_FRAMES = { burst: 1000, perSecond: 100 }
const PING_BYTES = 8
const GOAWAY_BYTES = 8
const NUMBER_BYTES = 4

export class Incoming {
  readonly #to: IncomingListener
  readonly #reader: FrameReader
  readonly #decoder = new HpackDecoder({
    // Our settings say nothing of it.
    maxTableBytes: FIRST_LIMIT_BYTES,
    maxListBytes: MAX_LIST_BYTES,
    maxFields: MAX_FIELDS,
  })
  readonly #idleFrames = new Allowance(IDLE_FRAMES)
  /** How much of the preface of a client has come. */
  #prefaceBytes: number
  #hasSettings = false
  #block: FieldBlock | undefined
  #isStopped = false

  constructor(to: IncomingListener, { isServer }: { isServer: boolean }) {
    this.#to = to
    this.#reader = new FrameReader(this.#frames)
    this.#prefaceBytes = isServer ? 0 : PREFACE.length
  }

  push(chunk: Buffer): void {
    if (this.#isStopped) return
    const rest = this.#prefaceBytes < PREFACE.length ? this.#readPreface(chunk) : chunk
    if (rest) this.#reader.push(rest)
  }

  stop(): void {
    this.#isStopped = true
    this.#reader.stop()
  }

  /** Counts what leads to nothing. */
  countIdleFrame(): void {
    if (!this.#idleFrames.take()) this.#to.onFault(CODE.enhanceYourCalm, 'too much that leads to nothing')
  }

  #readPreface(chunk: Buffer): Buffer | undefined {
    const expected = PREFACE.subarray(this.#prefaceBytes, this.#prefaceBytes + chunk.length)
    this.#prefaceBytes += expected.length
    if (chunk.subarray(0, expected.length).equals(expected)) return chunk.subarray(expected.length)
    this.#to.onFault(CODE.protocol, 'something else than the preface of HTTP/2')
    return undefined
  }

  readonly #frames: FrameListener = {
    onData: (streamId, part, { size, isEnd, isLast }) => {
      if (!this.#isInPlace(FRAME.data, streamId)) return
      if (isLast && size === 0 && !isEnd) this.countIdleFrame()
      this.#to.onData(streamId, part, size, isEnd)
    },
    onFrame: (type, flags, streamId, payload) => {
      if (this.#isInPlace(type, streamId)) this.#onFrame(type, flags, streamId, payload)
    },
    onUnreadable: (code, problem) => this.#to.onFault(code, problem),
  }

  /** Whether a frame may come where it does. */
  #isInPlace(type: number, streamId: number): boolean {
    if (!this.#hasSettings && type !== FRAME.settings)
      this.#to.onFault(CODE.protocol, 'something else before the settings')
    else if (this.#block && (type !== FRAME.continuation || streamId !== this.#block.streamId))
      this.#to.onFault(CODE.protocol, 'something else within a head')
    else if (isMisplaced(type, streamId))
      this.#to.onFault(CODE.protocol, `a frame of type ${type} on stream ${streamId}`)
    else return true
    return false
  }

  #onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    const isAck = (flags & FLAG.ack) !== 0
    switch (type) {
      case FRAME.headers:
        this.#onHeaders(streamId, flags, payload)
        break
      case FRAME.continuation:
        this.#onContinuation(flags, payload)
        break
      case FRAME.rstStream:
        if (this.#isOfSize(payload, NUMBER_BYTES)) this.#to.onReset(streamId, payload.readUInt32BE(0))
        break
      case FRAME.settings:
        this.#onSettings(payload, isAck)
        break
      case FRAME.ping:
        // Others ask often, to know how much they may send; who does not read the answers is found out by that.
        if (isAck) this.countIdleFrame()
        else if (this.#isOfSize(payload, PING_BYTES)) this.#to.onPing(payload)
        break
      case FRAME.goaway:
        if (payload.length < GOAWAY_BYTES) this.#to.onFault(CODE.frameSize, 'a GOAWAY that is cut off')
        else this.#to.onGoaway(payload.readUInt32BE(0) & MAX_STREAM_ID)
        break
      case FRAME.windowUpdate:
        if (this.#isOfSize(payload, NUMBER_BYTES))
          this.#to.onWindowUpdate(streamId, payload.readUInt32BE(0) & MAX_WINDOW_BYTES)
        break
      case FRAME.pushPromise:
        this.#to.onFault(CODE.protocol, 'what nobody has asked for')
        break
      // PRIORITY, and what is not known here.
      default:
        this.countIdleFrame()
    }
  }

  #isOfSize(payload: Buffer, bytes: number): boolean {
    if (payload.length === bytes) return true
    this.#to.onFault(CODE.frameSize, `${payload.length} bytes in a frame of ${bytes}`)
    return false
  }

  #onHeaders(streamId: number, flags: number, payload: Buffer): void {
    const fields = fieldsOf(payload, flags)
    if (fields) this.#onPiece(new FieldBlock(streamId, (flags & FLAG.endStream) !== 0, fields), flags)
    else this.#to.onFault(CODE.protocol, 'padding that is longer than its frame')
  }

  #onContinuation(flags: number, payload: Buffer): void {
    const block = this.#block
    const fault = block?.add(payload)
    if (fault) this.#to.onFault(fault.code, fault.problem)
    else if (block) this.#onPiece(block, flags)
    else this.#to.onFault(CODE.protocol, 'a head that goes on without having begun')
  }

  #onPiece(block: FieldBlock, flags: number): void {
    const isWhole = (flags & FLAG.endHeaders) !== 0
    this.#block = isWhole ? undefined : block
    if (!isWhole) return
    const decoded = this.#decoder.decode(block.whole())
    if (decoded) this.#to.onFields(block.streamId, decoded, block.isEnd)
    else this.#to.onFault(CODE.compression, 'a head that cannot be unpacked')
  }

  #onSettings(payload: Buffer, isAck: boolean): void {
    this.countIdleFrame()
    if (isAck) {
      this.#isOfSize(payload, 0)
      return
    }
    const said = parseSettings(payload)
    if ('problem' in said) {
      this.#to.onFault(said.code, said.problem)
      return
    }
    this.#hasSettings = true
    this.#to.onSettings(said)
  }
}

/** Whether it is of a stream where it must be of the connection, or the other way round. What is not known may be anywhere. */
function isMisplaced(type: number, streamId: number): boolean {
  if (type > FRAME.continuation || type === FRAME.windowUpdate) return false
  const isOfConnection = type === FRAME.settings || type === FRAME.ping || type === FRAME.goaway
  return isOfConnection !== (streamId === 0)
}

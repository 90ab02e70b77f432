// What we say on one connection: heads in the order in which they are packed, bodies as far as the windows and the reading of the other side
// let them, one frame of each stream in turn.

import type { Duplex } from 'node:stream'
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
} from './frames.ts'
import { type FieldToSend, HpackEncoder } from './hpack/encoder.ts'
import { Output, type OutputOptions } from './output.ts'
import type { Http2Stream } from './stream.ts'

export class Outgoing {
  readonly #output: Output
  readonly #encoder = new HpackEncoder()
  /** Streams of which more waits than may be sent. */
  readonly #blocked = new Set<Http2Stream>()
  #window = DEFAULT_WINDOW_BYTES
  /** Of all bodies. */
  #takenBytes = 0

  constructor(socket: Duplex, options: Omit<OutputOptions, 'onDrain'>) {
    this.#output = new Output(socket, { ...options, onDrain: () => this.pumpAll() })
  }

  /** A frame that says one thing. */
  write(type: number, flags: number, streamId: number, payload: Buffer): void {
    for (const part of formatFrame(type, flags, streamId, payload)) this.#output.write(part)
  }

  writeBytes(bytes: Buffer): void {
    this.#output.write(bytes)
  }

  writeFields(streamId: number, fields: readonly FieldToSend[], isEnd: boolean): void {
    for (const part of formatFieldBlock(streamId, this.#encoder.encode(fields), isEnd))
      this.#output.write(part)
  }

  writeReset(streamId: number, code: number): void {
    this.#output.write(formatNumbers(FRAME.rstStream, streamId, [code]))
  }

  writeWindowUpdate(streamId: number, bytes: number): void {
    this.#output.write(formatNumbers(FRAME.windowUpdate, streamId, [bytes]))
  }

  /** `problem`: why, for whoever reads it there. */
  writeGoaway(lastId: number, code: number = CODE.none, problem = ''): void {
    const payload = Buffer.alloc(8 + Buffer.byteLength(problem))
    payload.writeUInt32BE(lastId, 0)
    payload.writeUInt32BE(code, 4)
    payload.write(problem, 8)
    this.write(FRAME.goaway, 0, 0, payload)
  }

  limitTable(bytes: number): void {
    this.#encoder.limitTable(bytes)
  }

  /** False: it would be more than there can be. */
  widen(bytes: number): boolean {
    this.#window += bytes
    if (this.#window > MAX_WINDOW_BYTES) return false
    this.pumpAll()
    return true
  }

  /** Sends of a stream what may be sent now. */
  pump(stream: Http2Stream): void {
    // It has not begun.
    if (stream.id === 0) return
    while (stream.hasWaiting)
      if (!this.#sendOne(stream)) {
        this.#blocked.add(stream)
        return
      }
    this.#blocked.delete(stream)
  }

  pumpAll(): void {
    let hasSent = true
    while (hasSent && this.#blocked.size > 0) {
      hasSent = false
      for (const stream of [...this.#blocked]) {
        if (this.#sendOne(stream)) hasSent = true
        if (!stream.hasWaiting) this.#blocked.delete(stream)
      }
    }
  }

  forget(stream: Http2Stream): void {
    this.#blocked.delete(stream)
  }

  /** Nothing more is said after what there is, for which a slow reader has so long. */
  end(withinMs: number): void {
    this.#output.end(withinMs)
  }

  /** Streams of which something waits for a window, each with a number that changes when some of it is taken. */
  *waiting(): Generator<[Http2Stream, number]> {
    // They wait for the connection, whose socket is looked after by itself.
    if (this.#output.isFull) return
    for (const stream of this.#blocked)
      yield [stream, stream.sendWindow > 0 ? this.#takenBytes : stream.takenBytes]
  }

  #sendOne(stream: Http2Stream): boolean {
    if (!stream.hasWaiting) return false
    const room = Math.min(this.#window, stream.sendWindow, MAX_FRAME_BYTES)
    if (stream.pendingBytes > 0 && (room <= 0 || !this.#output.isOpen)) return false
    const { part, isEnd } = stream.take(Math.max(0, room))
    const { length } = part
    if (length > 0 || isEnd) this.write(FRAME.data, isEnd ? FLAG.endStream : 0, stream.id, part)
    this.#window -= length
    this.#takenBytes += length
    stream.sent(length, isEnd)
    return true
  }
}

// A connection of ours whose other side is written and read frame by frame.

import { type Duplex, duplexPair } from 'node:stream'
import { onTestFinished } from 'vitest'
import { Http2Connection, type Http2ConnectionOptions } from '../../../egress/http2/connection.ts'
import { FRAME, HEAD_BYTES, PREFACE } from '../../../egress/http2/frames.ts'
import { HpackDecoder } from '../../../egress/http2/hpack/decoder.ts'
import { frame } from '../../support/http2-frames.ts'

/** `piece`: the number of what came at once, in which its end was. */
export type Seen = { type: number; flags: number; stream: number; payload: Buffer; piece: number }

const NO_SETTINGS = frame(FRAME.settings, 0, 0, Buffer.alloc(0))

export class Wire {
  readonly connection: Http2Connection
  readonly #peer: Duplex
  readonly #decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 1 << 20, maxFields: 1000 })
  #bytes = Buffer.alloc(0)
  #pieces = 0
  readonly #seen: Seen[] = []
  #heard: (() => void) | undefined
  isClosed = false

  constructor(options: Omit<Http2ConnectionOptions, 'socket' | 'idleMs'> & { idleMs?: number }) {
    const [ours, peer] = duplexPair()
    this.#peer = peer
    // A client begins with more than frames.
    let skip = options.serve ? 0 : PREFACE.length
    peer
      .on('data', (chunk: Buffer) => {
        const rest = chunk.subarray(skip)
        skip -= chunk.length - rest.length
        this.#read(rest)
      })
      .on('end', () => peer.end())
      .on('close', () => {
        this.isClosed = true
        this.#heard?.()
      })
      .on('error', () => {})
    this.connection = new Http2Connection({ idleMs: 60_000, ...options, socket: ours })
    onTestFinished(() => {
      this.connection.destroy()
      peer.destroy()
    })
  }

  write(...frames: readonly Buffer[]): void {
    this.#peer.write(Buffer.concat(frames))
  }

  /** What any server or client begins with. */
  greet(settings: Buffer = NO_SETTINGS): void {
    this.write(settings)
  }

  /** Reads no more of what comes. */
  stopReading(): void {
    this.#peer.pause()
  }

  goOnReading(): void {
    this.#peer.resume()
  }

  /** The next frame of a type, when it is there, and those before it are dropped; undefined when the connection ends without one. */
  async next(type: number): Promise<Seen | undefined> {
    for (;;) {
      const found = this.#seen.shift()
      if (found?.type === type) return found
      if (found) continue
      if (this.isClosed) return undefined
      await new Promise<void>((resolve) => {
        this.#heard = resolve
      })
    }
  }

  /** The fields of a head. */
  fieldsOf({ payload }: Seen): Record<string, string> {
    const decoded = this.#decoder.decode(payload)
    return Object.fromEntries(decoded?.fields.map(({ name, value }) => [name, value]) ?? [])
  }

  /** The names of those that must never be put into a table. */
  sensitiveOf({ payload }: Seen): string[] {
    const fields = this.#decoder.decode(payload)?.fields ?? []
    return fields.filter(({ isSensitive }) => isSensitive).map(({ name }) => name)
  }

  #read(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    this.#pieces++
    while (this.#bytes.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + this.#bytes.readUIntBE(0, 3)
      if (this.#bytes.length < end) break
      this.#seen.push({
        type: this.#bytes.readUInt8(3),
        flags: this.#bytes.readUInt8(4),
        stream: this.#bytes.readUInt32BE(5),
        payload: Buffer.from(this.#bytes.subarray(HEAD_BYTES, end)),
        piece: this.#pieces,
      })
      this.#bytes = this.#bytes.subarray(end)
    }
    this.#heard?.()
  }
}

/** The code that a GOAWAY or an RST_STREAM gives. */
export function codeOf(seen: Seen | undefined): number | undefined {
  return seen?.payload.readUInt32BE(seen.payload.length >= 8 ? 4 : 0)
}

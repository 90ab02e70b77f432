// Connections that speak HTTP/2: each of their streams is handed on as a connection of its own, but for gRPC, which stays HTTP/2 all the
// way. What one connection can make the gateway do is bounded: streams at a time, fields, and how fast streams may be broken off. A stream
// can make it keep as much as a connection of HTTP/1.1 can, so every one beside the first is counted as a connection of its client.

import { randomBytes } from 'node:crypto'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import * as http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Origin } from '../../lib/hops.ts'
import { REFUSED, type Refusal } from '../decision/refusal.ts'
import { MAX_HEAD_BYTES } from '../http1/head.ts'
import { STREAM_BUFFER_BYTES } from '../relay/upstream.ts'
import { formatHttp1Head } from './http2-head.ts'
import { Http2Socket } from './http2-socket.ts'

export type Http2SessionsOptions = {
  idleTimeoutMs: number
  /** Counts one more connection of a client; what gives it back, or undefined when the client has as many as it may. */
  takePlace(origin: Origin): (() => void) | undefined
  highWaterMark: number
  /** A request that goes on as HTTP/1.1. */
  serve(socket: Http2Socket, origin: Origin): void
}

/** What may come ahead of its being read: of one stream, and of all of a connection together on their way. */
const WINDOW_BYTES = STREAM_BUFFER_BYTES
const SESSION_WINDOW_BYTES = 1024 * 1024

const SESSION_OPTIONS = {
  settings: {
    enableConnectProtocol: true,
    maxConcurrentStreams: 128,
    maxHeaderListSize: MAX_HEAD_BYTES,
    initialWindowSize: WINDOW_BYTES,
  },
  /** Fields of one head. */
  maxHeaderListPairs: 160,
  maxSettings: 32,
  maxOutstandingPings: 10,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  // Breaking off streams costs a client nothing and a server much (CVE-2023-44487).
  streamResetBurst: 200,
  streamResetRate: 20,
}

export class Http2Sessions {
  readonly #options: Http2SessionsOptions
  readonly #sessions = new Set<ServerHttp2Session>()

  constructor(options: Http2SessionsOptions) {
    this.#options = options
  }

  accept(socket: Duplex, origin: Origin): void {
    // The types say that it returns nothing.
    const session = http2.performServerHandshake(socket, SESSION_OPTIONS) as unknown as ServerHttp2Session
    this.#sessions.add(session)
    session.setTimeout(this.#options.idleTimeoutMs, () => session.close())
    // Without it all streams together would have 64 KiB on their way.
    session.setLocalWindowSize(SESSION_WINDOW_BYTES)
    const open: OpenStreams = { count: 0, places: [] }
    session
      .on('stream', (stream, _headers, flags, raw) => this.#take(stream, { flags, raw, origin, open }))
      // The close that follows does what is to be done.
      .on('error', () => {})
      .on('close', () => {
        this.#sessions.delete(session)
        socket.destroy()
      })
  }

  /** No more streams; those that are under way may end. */
  stop(): void {
    for (const session of this.#sessions) session.close()
  }

  cut(): void {
    for (const session of this.#sessions) session.destroy()
  }

  #take(stream: ServerHttp2Stream, { flags, raw, origin, open }: Beginning): void {
    stream.on('error', () => {})
    // It was broken off in the packet that it came in.
    if (stream.destroyed || stream.closed) return
    if (open.count > 0) {
      const giveBack = this.#options.takePlace(origin)
      if (!giveBack) {
        refuse(stream, REFUSED.tooManyConnections())
        return
      }
      open.places.push(giveBack)
    }
    open.count++
    stream.once('close', () => {
      open.count--
      open.places.pop()?.()
    })
    const webSocketKey = randomBytes(16).toString('base64')
    const isWhole = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0
    const head = formatHttp1Head(raw, { isWhole, webSocketKey })
    if ('problem' in head) {
      refuse(stream, REFUSED.bad(head.status, head.problem))
      return
    }
    const method = head.text.slice(0, head.text.indexOf(' '))
    const { highWaterMark } = this.#options
    this.#options.serve(new Http2Socket({ stream, head, method, webSocketKey, highWaterMark }), {
      ...origin,
      isHttp2: true,
    })
  }
}

/** A stream that begins, and how many its connection has. */
type Beginning = { flags: number; raw: string[]; origin: Origin; open: OpenStreams }
/** One of them has the place of the connection itself. */
type OpenStreams = { count: number; places: (() => void)[] }

/** Before it is known what is asked for. */
function refuse(stream: ServerHttp2Stream, { status, code, message, retryAfter }: Refusal): void {
  const body = JSON.stringify({ code, message })
  stream.respond({
    ':status': status,
    'content-type': 'application/json',
    'content-length': body.length,
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
  })
  stream.end(body)
  stream.close(http2.constants.NGHTTP2_NO_ERROR)
}

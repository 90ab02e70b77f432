// One connection of a client that speaks HTTP/2: each stream is judged by itself and goes on as a stream of the server's connection, with its
// trailers and without waiting for its end, as gRPC needs it.

import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerStreamResponseOptions,
} from 'node:http2'
import type { Duplex } from 'node:stream'
import { HTTP2_LIMITS, MAX_HTTP2_STREAMS } from '../../lib/http2-limits.ts'
import type { Injection } from '../vault/port.ts'
import { MAX_SUBSTITUTED_BODY_BYTES, substituteBody, substitutesBody } from '../vault/substitute.ts'
import { writePiece } from '../write-piece.ts'
import { type Relaying, Tally } from './exchange.ts'
import { canonicalField } from './fields.ts'
import { HeldBody } from './held-body.ts'
import { forwardedHeaders, forwardedTrailers, redactedHeaders } from './http2-fields.ts'
import { checkAuthority, judgeRequest, type Refusal, TOO_MANY_HELD } from './judge-request.ts'
import { overridesOf } from './overrides.ts'
import { UpstreamError } from './upstreams.ts'

export type Http2RelayOptions = Relaying & {
  client: Duplex
  /** A connection of the server. Rejects with an UpstreamError. */
  open: () => ClientHttp2Session | Promise<ClientHttp2Session>
  /** How long a client may be silent with no request under way. */
  requestMs?: number
  /** Begins a stream on it. */
  request: (
    session: ClientHttp2Session,
    headers: OutgoingHttpHeaders,
    options: { endStream: boolean; waitForTrailers: boolean },
  ) => ClientHttp2Stream
}

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants
/** As HTTP/1 is read, too. */
const METHOD = /^[A-Z][A-Z-]{0,31}$/
const MAX_HEAD_BYTES = 65_536
/** As long as servers wait for the next request. */
const REQUEST_MS = 75_000
const WINDOW_BYTES = 1024 * 1024
const SESSION_WINDOW_BYTES = 4 * WINDOW_BYTES
const SESSION_OPTIONS = {
  settings: {
    maxConcurrentStreams: MAX_HTTP2_STREAMS,
    maxHeaderListSize: MAX_HEAD_BYTES,
    initialWindowSize: WINDOW_BYTES,
  },
  ...HTTP2_LIMITS,
}
/** No date is added that the server has not sent. */
const AS_IT_IS: ServerStreamResponseOptions & { sendDate: boolean } = { sendDate: false }

/** Reads requests until the client ends its connection. */
export function relayHttp2(options: Http2RelayOptions): void {
  const { client, requestMs = REQUEST_MS } = options
  let open = 0
  // The types say that it returns nothing.
  const session = performServerHandshake(client, SESSION_OPTIONS) as unknown as ServerHttp2Session
  session
    .once('connect', () => session.setLocalWindowSize(SESSION_WINDOW_BYTES))
    .on('stream', (stream, headers, flags) => {
      // The close that follows does what is to be done.
      stream.on('error', () => {})
      // It was broken off in the packet that it came in.
      if (stream.destroyed || stream.closed) return
      open++
      stream.on('close', () => open--)
      new StreamRelay(options, stream).begin(headers, flags)
    })
    .on('error', () => {})
    .on('close', () => client.destroy())
  // A stream may be quiet for as long as it likes.
  session.setTimeout(requestMs, () => {
    if (open === 0) session.close()
  })
  // It waits for what only sockets say that a TLS server has made.
  client.emit('secureConnect')
}

class StreamRelay {
  readonly #options: Http2RelayOptions
  readonly #stream: ServerHttp2Stream
  #tally: Tally
  #injection: Injection | undefined
  #upstream: ClientHttp2Stream | undefined

  constructor(options: Http2RelayOptions, stream: ServerHttp2Stream) {
    this.#options = options
    this.#stream = stream
    this.#tally = new Tally(options.server, { method: '', target: '' })
  }

  begin(headers: IncomingHttpHeaders, flags: number): void {
    this.#stream.on('close', () => {
      this.#upstream?.close(this.#stream.rstCode === NGHTTP2_NO_ERROR ? NGHTTP2_CANCEL : this.#stream.rstCode)
      this.#options.onExchange(this.#tally.sum())
    })
    const isWhole = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
    const refusal = this.#judge(headers, isWhole)
    if (refusal) this.#refuse(refusal)
  }

  #judge(headers: IncomingHttpHeaders, isWhole: boolean): Refusal | undefined {
    const { server, vault } = this.#options
    const {
      ':method': method = '',
      ':path': target = '',
      ':scheme': scheme,
      ':authority': authority,
    } = headers
    this.#tally = new Tally(server, { method, target })
    const { host } = headers
    const wrongServer =
      checkAuthority(authority ?? host, server) ??
      (host === undefined ? undefined : checkAuthority(host, server))
    if (wrongServer) return wrongServer
    if (scheme !== server.scheme)
      return { status: 421, text: 'the request is for another scheme than its connection' }
    if (method === 'CONNECT') return { status: 400, text: 'a CONNECT would lead elsewhere' }
    if (!METHOD.test(method)) return { status: 400, text: 'the request has a method that is not proper' }
    if (!/^(\/[\x21\x22\x24-\x7e]*|\*)$/.test(target))
      return { status: 400, text: 'the request has a path that is not proper' }
    const verdict = judgeRequest(vault(), server, {
      method,
      target,
      overrides: () => overridesOf(pairsOf(headers), target),
    })
    if (verdict.refusal) {
      this.#tally.binding = verdict.binding
      return verdict.refusal
    }
    this.#injection = verdict.injection
    this.#tally.injection = verdict.injection
    const forwarded = forwardedHeaders(headers, verdict.injection)
    if (!isWhole && this.#holdsBody(forwarded)) {
      const letGo = this.#options.holdBody()
      if (!letGo) return TOO_MANY_HELD
      void this.#forwardHeld(forwarded, letGo)
    } else this.#withSession((session) => this.#forward(session, forwarded, isWhole))
    return undefined
  }

  #withSession(act: (session: ClientHttp2Session) => void): void {
    const { destroyed, closed } = this.#stream
    if (destroyed || closed) return
    try {
      const opening = this.#options.open()
      if (opening instanceof Promise) opening.then(act).catch((error: unknown) => this.#cannotSend(error))
      else act(opening)
    } catch (error) {
      this.#cannotSend(error)
    }
  }

  #cannotSend(error: unknown): void {
    const isExpected = error instanceof UpstreamError
    this.#refuse(
      isExpected
        ? { status: error.status, text: error.message }
        : { status: 502, text: `the server ${this.#options.server.host} takes no more requests` },
    )
  }

  #forward(session: ClientHttp2Session, headers: OutgoingHttpHeaders, isWhole: boolean): void {
    const upstream = this.#request(session, headers, isWhole)
    if (!upstream || isWhole) return
    this.#pass(this.#stream, upstream, (length) => {
      this.#tally.bytesSent += length
    })
  }

  /** Texts in the body are replaced, so it must be whole first. */
  async #forwardHeld(headers: OutgoingHttpHeaders, letGo: () => void): Promise<void> {
    const stream = this.#stream
    stream.once('close', letGo)
    const held = new HeldBody(Number(textIn(headers, 'content-length')))
    try {
      for await (const part of stream) held.push(part)
    } catch (error) {
      this.#cannotSend(error)
      return
    }
    const whole = held.takeAll()
    this.#tally.bytesSent += whole.length
    const contentType = textIn(headers, 'content-type')
    const body = substituteBody(whole, this.#injection?.substitutions ?? [], contentType)
    headers['content-length'] = String(body.length)
    this.#withSession((session) => {
      this.#request(session, headers, false)?.end(body)
      letGo()
    })
  }

  /** Undefined: nobody waits for the answer any more. */
  #request(
    session: ClientHttp2Session,
    headers: OutgoingHttpHeaders,
    isWhole: boolean,
  ): ClientHttp2Stream | undefined {
    if (this.#stream.destroyed || this.#stream.closed) return undefined
    const upstream = this.#options.request(session, headers, {
      endStream: isWhole,
      waitForTrailers: !isWhole,
    })
    this.#upstream = upstream
    this.#connect(upstream)
    return upstream
  }

  /** A body in which texts are replaced must be whole first. */
  #holdsBody(headers: OutgoingHttpHeaders): boolean {
    const { substitutions = [] } = this.#injection ?? {}
    if (substitutions.length === 0) return false
    const length = Number(textIn(headers, 'content-length') ?? Number.POSITIVE_INFINITY)
    if (!(length <= MAX_SUBSTITUTED_BODY_BYTES)) return false
    const contentType = textIn(headers, 'content-type')
    const contentEncoding = textIn(headers, 'content-encoding')
    return substitutesBody(substitutions, { contentType, contentEncoding })
  }

  #connect(upstream: ClientHttp2Stream): void {
    const stream = this.#stream
    let trailers: OutgoingHttpHeaders = {}
    let answerTrailers: OutgoingHttpHeaders = {}
    stream.on('trailers', (came) => {
      trailers = forwardedTrailers(came, this.#injection)
    })
    upstream.on('wantTrailers', () => this.#attempt(() => upstream.sendTrailers(trailers)))
    upstream
      .on('headers', (headers) => {
        if (!stream.headersSent && !stream.closed)
          this.#attempt(() => stream.additionalHeaders(this.#redacted(headers)))
      })
      .on('response', (headers, flags) => {
        if (stream.closed || stream.destroyed) return
        const endStream = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
        this.#tally.status = Number(headers[':status'])
        const isBegun = this.#attempt(() =>
          stream.respond(this.#redacted(headers), {
            ...AS_IT_IS,
            endStream,
            waitForTrailers: !endStream,
          }),
        )
        if (isBegun && !endStream)
          this.#pass(upstream, stream, (length) => {
            this.#tally.bytesReceived += length
          })
      })
      .on('trailers', (came) => {
        answerTrailers = this.#redacted(came)
      })
      // The close that follows does what is to be done.
      .on('error', () => {})
      .on('close', () => this.#upstreamClosed(upstream))
    stream.on('wantTrailers', () => this.#attempt(() => stream.sendTrailers(answerTrailers)))
  }

  #redacted(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
    return redactedHeaders(headers, { injection: this.#injection, secrets: this.#options.secrets })
  }

  /** What came may be more than Node lets out: then the exchange is broken off, and nobody else's. */
  #attempt(send: () => void): boolean {
    try {
      send()
      return true
    } catch {
      this.#tally.refusal = 'it has fields that HTTP/2 does not allow'
      this.#upstream?.close(NGHTTP2_INTERNAL_ERROR)
      this.#stream.close(NGHTTP2_INTERNAL_ERROR)
      return false
    }
  }

  /** No faster than the other side takes it. */
  #pass(from: Duplex, to: Duplex, count: (bytes: number) => void): void {
    from
      .on('data', (chunk: Buffer) => {
        count(chunk.length)
        if (!to.destroyed && !to.writableEnded && !writePiece(to, chunk)) from.pause()
      })
      .on('end', () => {
        if (!to.destroyed) to.end()
      })
    to.on('drain', () => from.resume())
  }

  #upstreamClosed(upstream: ClientHttp2Stream): void {
    const stream = this.#stream
    if (stream.destroyed || stream.closed) return
    const { rstCode } = upstream
    if (!stream.headersSent)
      this.#refuse({
        status: 502,
        text: `the server ${this.#options.server.host} broke off without an answer`,
      })
    // After its answer a server may say that it needs no more of the request.
    else if (rstCode !== NGHTTP2_NO_ERROR || !upstream.readableEnded)
      stream.close(rstCode === NGHTTP2_NO_ERROR ? NGHTTP2_INTERNAL_ERROR : rstCode)
    else if (!stream.readableEnded) stream.once('finish', () => stream.close(NGHTTP2_NO_ERROR))
  }

  #refuse({ status, text }: Refusal): void {
    this.#tally.status = status
    this.#tally.refusal = text
    const stream = this.#stream
    if (stream.destroyed || stream.closed || stream.headersSent) return
    const body = Buffer.from(`${text}\n`)
    stream.respond({
      ':status': status,
      'content-type': 'text/plain; charset=utf-8',
      'content-length': body.length,
    })
    stream.end(body)
    // What else the client sends of the request is of no use.
    stream.once('finish', () => stream.close(NGHTTP2_NO_ERROR))
  }
}

function textIn(headers: OutgoingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return value === undefined ? undefined : String(value)
}

function pairsOf(headers: IncomingHttpHeaders): [name: string, value: string][] {
  return Object.entries(headers).map(([name, value]) => [canonicalField(name), String(value)])
}

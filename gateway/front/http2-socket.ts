// One stream of HTTP/2 as a connection of HTTP/1.1 with one request on it, so that every request is judged, forwarded and told of in the
// same place whatever it came over. What is read here is the request's head and body; what is written is taken apart again.

import { createHash } from 'node:crypto'
import type { OutgoingHttpHeaders, ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2'
import { Duplex } from 'node:stream'
import type { Field } from '../../lib/http1/fields.ts'
import { type BodyReader, createBodyReader } from '../http1/body.ts'
import { findHeadEnd, parseResponseHead, type ResponseHead } from '../http1/head.ts'
import { formatTrailers, type Http2Head } from './http2-head.ts'

/** Codes of RFC 9113 7. */
const INTERNAL_ERROR = 2
const CANCEL = 8

const CONNECTION_FIELDS = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'sec-websocket-accept',
])
/** No date is added that the sandbox has not sent. */
const AS_IT_IS: ServerStreamResponseOptions & { sendDate: boolean } = { sendDate: false }
const WEB_SOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

export type Http2SocketOptions = {
  stream: ServerHttp2Stream
  head: Http2Head
  method: string
  webSocketKey: string
  highWaterMark: number
}

export class Http2Socket extends Duplex {
  readonly #stream: ServerHttp2Stream
  readonly #head: Http2Head
  readonly #method: string
  readonly #webSocketKey: string
  #state: 'head' | 'body' | 'tunnel' | 'whole' = 'head'
  #partial: Buffer = Buffer.alloc(0)
  #body: BodyReader | undefined
  #trailers: OutgoingHttpHeaders = {}
  #isReading = false
  #timer: NodeJS.Timeout | undefined

  constructor({ stream, head, method, webSocketKey, highWaterMark }: Http2SocketOptions) {
    super({ highWaterMark, allowHalfOpen: true, decodeStrings: true })
    this.#stream = stream
    this.#head = head
    this.#method = method
    this.#webSocketKey = webSocketKey
    this.push(Buffer.from(head.text, 'latin1'))
    stream
      .on('error', () => {})
      .on('close', () => this.destroy())
      .on('aborted', () => this.destroy())
    // What comes ahead of a WebSocket's beginning is no request, so it is not read before.
    if (!head.isTunnel) this.#readBody()
  }

  /** Ends what takes too long when a WebSocket is half closed. */
  setTimeout(ms: number, onTimeout: () => void): this {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(onTimeout, ms)
    return this
  }

  destroySoon(): void {
    if (this.writableFinished) this.destroy()
    else this.end(() => this.destroy())
  }

  resetAndDestroy(): this {
    return this.destroy()
  }

  override _read(): void {
    // Nobody listens before the body is read, and what flows then is lost.
    if (this.#isReading) this.#stream.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#state === 'tunnel') this.#stream.write(chunk, done)
    else this.#take(this.#partial.length > 0 ? Buffer.concat([this.#partial, chunk]) : chunk, done)
  }

  override _final(done: (error?: Error | null) => void): void {
    // The end of the connection is the end of the answer, when nothing else was said to be.
    if (this.#state === 'tunnel' || this.#state === 'body') this.#stream.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer)
    const isOver = this.#state === 'whole' || this.#stream.writableEnded
    if (!this.#stream.destroyed && !isOver)
      this.#stream.close(this.#state === 'head' ? INTERNAL_ERROR : CANCEL)
    done(error)
  }

  #readBody(): void {
    const { body, isTunnel } = this.#head
    const stream = this.#stream
    this.#isReading = true
    const give = (bytes: Buffer | string) => {
      if (!this.push(bytes)) stream.pause()
    }
    const isChunked = body === 'chunked'
    let trailers = ''
    stream
      .on('trailers', (_fields, _flags, raw: string[] = []) => {
        const text = formatTrailers(raw)
        if (text === undefined) this.destroy()
        else trailers = text
      })
      .on('data', (chunk: Buffer) => {
        if (isChunked) this.push(`${chunk.length.toString(16)}\r\n`)
        give(chunk)
        if (isChunked) give('\r\n')
      })
      .on('end', () => {
        if (this.destroyed) return
        if (isChunked) this.push(Buffer.from(`0\r\n${trailers}\r\n`, 'latin1'))
        if (isTunnel) this.push(null)
      })
  }

  #take(bytes: Buffer, done: (error?: Error | null) => void): void {
    let at = 0
    this.#partial = Buffer.alloc(0)
    while (this.#state === 'head') {
      const end = findHeadEnd(bytes, at)
      if (end < 0) {
        this.#partial = bytes.subarray(at)
        // The gateway has made it, and it has bounds.
        done()
        return
      }
      const head = parseResponseHead(bytes.toString('latin1', at, end), this.#method)
      const problem = 'problem' in head ? head.problem : this.#begin(head)
      if (problem !== undefined) {
        done(new Error(problem))
        return
      }
      at = end
    }
    if (this.#state === 'tunnel') {
      if (at < bytes.length) this.#stream.write(bytes.subarray(at), done)
      else done()
    } else this.#passBody(bytes, at, done)
  }

  /** What is wrong with it, if anything is. */
  #begin(head: ResponseHead): string | undefined {
    const stream = this.#stream
    if (stream.destroyed || stream.headersSent) return 'The stream has ended'
    const headers = headersOf(head.fields)
    if (head.status === 101) {
      if (!this.#head.isTunnel || !this.#accepts(head)) return 'A WebSocket was begun that nobody asked for'
      this.#state = 'tunnel'
      this.#readBody()
      return this.#send(() => stream.respond({ ':status': 200, ...headers }, AS_IT_IS))
    }
    if (head.status < 200)
      return this.#send(() => stream.additionalHeaders({ ':status': head.status, ...headers }))
    const body = createBodyReader(head.framing, {
      decode: true,
      keepTrailer: () => true,
      onTrailers: (fields) => {
        this.#trailers = headersOf(fields)
      },
    })
    this.#body = body
    this.#state = body.done ? 'whole' : 'body'
    const mayHaveTrailers = head.framing.kind === 'chunked'
    return this.#send(() => {
      const options = { ...AS_IT_IS, endStream: body.done, waitForTrailers: mayHaveTrailers }
      stream.respond({ ':status': head.status, ...headers }, options)
      if (mayHaveTrailers)
        stream.once('wantTrailers', () => {
          if (this.#send(() => stream.sendTrailers(this.#trailers)) !== undefined)
            stream.close(INTERNAL_ERROR)
        })
    })
  }

  #passBody(bytes: Buffer, at: number, done: (error?: Error | null) => void): void {
    const body = this.#body
    if (!body || body.done) {
      done()
      return
    }
    const parts: Buffer[] = []
    body.read(bytes, at, (part) => parts.push(part))
    const last = parts.pop()
    for (const part of parts) this.#stream.write(part)
    if (body.done) this.#state = 'whole'
    if (body.problem !== undefined) done(new Error(body.problem))
    // What the bytes lie in may be used again once `done` was called.
    else if (last) this.#stream.write(last, done)
    else done()
    if (body.done) this.#stream.end()
  }

  #accepts({ fields }: ResponseHead): boolean {
    const wanted = createHash('sha1').update(`${this.#webSocketKey}${WEB_SOCKET_GUID}`).digest('base64')
    return fields.some(({ key, value }) => key === 'sec-websocket-accept' && value === wanted)
  }

  /** HTTP/2 takes some fields once only, and says so by throwing. */
  #send(act: () => void): string | undefined {
    try {
      act()
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }
}

function headersOf(fields: readonly Field[]): OutgoingHttpHeaders {
  // A sandbox may name a field as what every object has.
  const headers: Record<string, string[]> = Object.create(null)
  for (const { key, value } of fields) {
    if (CONNECTION_FIELDS.has(key)) continue
    headers[key] = [...(headers[key] ?? []), value]
  }
  return headers
}

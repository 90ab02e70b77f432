// A stream of HTTP/2 to a sandbox as a connection of HTTP/1.1 that carries one request: what is written is sent as HTTP/2, and the answer is
// read as HTTP/1.1, trailers included. So gRPC passes by the same way as everything else.

import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  IncomingHttpHeaders,
  OutgoingHttpHeaders,
} from 'node:http2'
import { Duplex } from 'node:stream'
import { messageOf } from '../../lib/errors.ts'
import { type Field, isFieldName, isFieldValue } from '../../lib/http1/fields.ts'
import { isEmpty } from '../../lib/http1/framing.ts'
import { type BodyReader, createBodyReader } from '../http1/body.ts'
import { findHeadEnd, parseRequestHead, type RequestHead } from '../http1/head.ts'

/** RFC 9113 7. */
const CANCEL = 8
const CONNECTION_FIELDS = new Set(['host', 'connection', 'keep-alive', 'transfer-encoding', 'upgrade'])

/** HTTP/2 has no way to say what the request says, such as two of a field that may come once. */
export class UnsayableRequest extends Error {}

export class H2cSocket extends Duplex {
  readonly #session: ClientHttp2Session
  #stream: ClientHttp2Stream | undefined
  #partial: Buffer = Buffer.alloc(0)
  #body: BodyReader | undefined
  #trailers: OutgoingHttpHeaders = {}
  #isOver = false
  #timer: NodeJS.Timeout | undefined

  constructor(session: ClientHttp2Session, highWaterMark: number) {
    super({ highWaterMark, allowHalfOpen: true })
    this.#session = session
    const onConnect = () => this.emit('connect')
    const onError = (error: Error) => this.destroy(error)
    const onClose = () => this.destroy()
    session.on('error', onError).on('close', onClose)
    if (session.connecting) session.once('connect', onConnect)
    else queueMicrotask(onConnect)
    this.once('close', () => session.off('connect', onConnect).off('error', onError).off('close', onClose))
  }

  setTimeout(ms: number, onTimeout: () => void): this {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(onTimeout, ms)
    return this
  }

  override _read(): void {
    this.#stream?.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#body) {
      this.#sendBody(chunk, 0, done)
      return
    }
    const bytes = Buffer.concat([this.#partial, chunk])
    const end = findHeadEnd(bytes, 0)
    if (end < 0) {
      this.#partial = bytes
      done()
      return
    }
    const head = parseRequestHead(bytes.toString('latin1', 0, end))
    if ('problem' in head) done(new Error(head.problem))
    else if (this.#session.closed || this.#session.destroyed) done(new Error('The connection has ended'))
    else {
      const error = attempt(() => this.#begin(head))
      if (error) done(error)
      else this.#sendBody(bytes, end, done)
    }
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream?.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer)
    if (!this.#isOver) this.#stream?.close(CANCEL)
    done(error)
  }

  #begin(head: RequestHead): void {
    const headers = noFields()
    Object.assign(headers, {
      ':method': head.method,
      ':scheme': 'http',
      ':authority': head.host,
      ':path': head.target,
    })
    for (const { key, value } of head.fields) if (!CONNECTION_FIELDS.has(key)) add(headers, key, value)
    const isWhole = isEmpty(head.framing)
    const hasTrailers = head.framing.kind === 'chunked'
    const stream = this.#session.request(headers, { endStream: isWhole, waitForTrailers: hasTrailers })
    this.#stream = stream
    this.#body = createBodyReader(head.framing, {
      decode: true,
      keepTrailer: () => true,
      onTrailers: (fields) => {
        const trailers = noFields()
        for (const { key, value } of fields) add(trailers, key, value)
        this.#trailers = trailers
      },
    })
    if (hasTrailers)
      stream.once('wantTrailers', () => {
        const error = attempt(() => stream.sendTrailers(this.#trailers))
        if (error) this.destroy(error)
      })
    this.#readAnswer(stream, head.method)
  }

  #readAnswer(stream: ClientHttp2Stream, method: string): void {
    let isChunked = false
    let trailers = ''
    stream
      .on('headers', (headers, _flags, raw: string[] = []) => this.#give(formatHead(headers, raw, '')))
      .on('response', (headers, flags: number, raw: string[] = []) => {
        const status = Number(headers[':status'])
        // A flag of RFC 9113 6.2: no body follows.
        const isWhole = (flags & 1) !== 0
        isChunked = !isWhole
        const hasNone = method === 'HEAD' || status === 204 || status === 304
        const framing = isChunked ? 'transfer-encoding: chunked\r\n' : hasNone ? '' : 'content-length: 0\r\n'
        this.#give(formatHead(headers, raw, framing))
      })
      .on('trailers', (_headers, _flags, raw: string[] = []) => {
        const lines = formatFields(raw)
        if (lines === undefined) this.destroy(new Error('A trailer holds a character that is not allowed'))
        else trailers = lines
      })
      .on('data', (chunk: Buffer) => {
        this.push(`${chunk.length.toString(16)}\r\n`)
        this.push(chunk)
        if (!this.push('\r\n')) stream.pause()
      })
      .on('end', () => {
        if (this.destroyed || stream.rstCode !== 0) return
        this.#isOver = true
        if (isChunked) this.push(Buffer.from(`0\r\n${trailers}\r\n`, 'latin1'))
      })
      .on('error', (error) => this.destroy(error))
      .on('close', () => {
        if (!this.#isOver) this.destroy(new Error('The stream was broken off'))
      })
  }

  #give(head: string | undefined): void {
    if (head === undefined)
      this.destroy(new Error('The head of an answer holds a character that is not allowed'))
    else this.push(Buffer.from(head, 'latin1'))
  }

  #sendBody(bytes: Buffer, at: number, done: (error?: Error | null) => void): void {
    const [stream, body] = [this.#stream, this.#body]
    if (!stream || !body || body.done) {
      done()
      return
    }
    const parts: Buffer[] = []
    body.read(bytes, at, (part) => parts.push(part))
    const last = parts.pop()
    for (const part of parts) stream.write(part)
    if (body.problem !== undefined) done(new Error(body.problem))
    else if (last) stream.write(last, done)
    else done()
    if (body.done) stream.end()
  }
}

/** HTTP/2 takes some fields once only, and others never, and says so by throwing. */
function attempt(act: () => void): UnsayableRequest | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    return new UnsayableRequest(messageOf(error), { cause: error })
  }
}

/** A client may name a field as what every object has. */
function noFields(): Record<string, string | string[]> {
  return Object.create(null)
}

function add(headers: Record<string, string | string[]>, key: string, value: string): void {
  const before = headers[key]
  headers[key] = before === undefined ? value : [before, value].flat()
}

function formatHead(
  headers: IncomingHttpHeaders & { ':status'?: number | undefined },
  raw: readonly string[],
  framing: string,
): string | undefined {
  const lines = formatFields(raw, framing !== '')
  return lines === undefined ? undefined : `HTTP/1.1 ${headers[':status']} \r\n${lines}${framing}\r\n`
}

/** Names and values by turns as lines, without those that begin with a colon. */
function formatFields(raw: readonly string[], isFramed = false): string | undefined {
  const fields: Pick<Field, 'name' | 'value'>[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = '', value = ''] = [raw[at], raw[at + 1]]
    if (name.startsWith(':') || CONNECTION_FIELDS.has(name) || (isFramed && name === 'content-length'))
      continue
    if (!isFieldName(name) || !isFieldValue(value)) return undefined
    fields.push({ name, value })
  }
  return fields.map(({ name, value }) => `${name}: ${value}\r\n`).join('')
}

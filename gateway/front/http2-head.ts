// A request of HTTP/2 as the head of HTTP/1.1 that means the same. What HTTP/2 forbids, and what would be more than one line or more than
// one request in HTTP/1.1, is refused here; the text is read once more by the strict parser that reads all heads. Pure.

import { isFieldName, isFieldValue } from '../../lib/http1/fields.ts'
import { isHost } from '../../lib/http1/host.ts'

export type Http2Head = {
  text: string
  /** How its body is written in HTTP/1.1. */
  body: 'none' | 'length' | 'chunked'
  /** Extended CONNECT (RFC 8441): the stream becomes a WebSocket's bytes. */
  isTunnel: boolean
}

export type Http2Problem = { problem: string; status: number }

/** About one connection, which HTTP/2 has no use for (RFC 9113 8.2.2). */
const CONNECTION_FIELDS = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])
/** What the handshake of a WebSocket has in HTTP/1.1 only. */
const HANDSHAKE_FIELDS = new Set(['sec-websocket-key', 'sec-websocket-accept'])
const PSEUDO_FIELDS = new Set([':method', ':path', ':scheme', ':authority', ':protocol'])

export type Http2HeadOptions = {
  /** Whether no body follows. */
  isWhole: boolean
  /** For the handshake of a WebSocket. */
  webSocketKey: string
}

/** `raw` has names and values by turns. */
export function formatHttp1Head(
  raw: readonly string[],
  { isWhole, webSocketKey }: Http2HeadOptions,
): Http2Head | Http2Problem {
  const pseudo = new Map<string, string>()
  const cookies: string[] = []
  let lines = ''
  let isPast = false
  let host: string | undefined
  let length: string | undefined
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = '', value = ''] = [raw[at], raw[at + 1]]
    if (name.startsWith(':')) {
      if (!PSEUDO_FIELDS.has(name) || pseudo.has(name))
        return bad(`the field ${name} is not allowed, or comes twice`)
      if (isPast) return bad('fields that begin with a colon must come first')
      pseudo.set(name, value)
      continue
    }
    isPast = true
    if (!isFieldName(name) || /[A-Z]/.test(name))
      return bad('a field name holds a character that is not allowed')
    if (!isFieldValue(value)) return bad('a field value holds a control character')
    if (CONNECTION_FIELDS.has(name)) return bad(`the field ${name} is not allowed in HTTP/2`)
    if (name === 'te' && value.toLowerCase() !== 'trailers') return bad('the field te may only be trailers')
    if (name === 'host') {
      if (host !== undefined) return bad('the field host must come once, but it comes twice')
      host = value
    } else if (name === 'content-length') {
      if (length !== undefined) return bad('the field content-length must come once, but it comes twice')
      length = value
    } else if (name === 'cookie') cookies.push(value)
    else if (!HANDSHAKE_FIELDS.has(name)) lines += `${name}: ${value}\r\n`
  }
  return compose({ pseudo, host, length, cookies, lines, isWhole, webSocketKey })
}

/** Trailers as lines, without those that HTTP/2 has of its own; undefined when they would be more than that. */
export function formatTrailers(raw: readonly string[]): string | undefined {
  let lines = ''
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = '', value = ''] = [raw[at], raw[at + 1]]
    if (!isFieldName(name) || !isFieldValue(value)) return undefined
    lines += `${name}: ${value}\r\n`
  }
  return lines
}

type Parts = {
  pseudo: ReadonlyMap<string, string>
  host: string | undefined
  length: string | undefined
  cookies: readonly string[]
  lines: string
  isWhole: boolean
  webSocketKey: string
}

function compose({
  pseudo,
  host,
  length,
  cookies,
  lines,
  isWhole,
  webSocketKey,
}: Parts): Http2Head | Http2Problem {
  const method = pseudo.get(':method') ?? ''
  const path = pseudo.get(':path')
  const protocol = pseudo.get(':protocol')
  const authority = pseudo.get(':authority') ?? host
  if (!isFieldName(method)) return bad('the method holds a character that is not allowed')
  const isTunnel = method === 'CONNECT'
  if (isTunnel && protocol === undefined) return { status: 405, problem: 'CONNECT is not served here' }
  if (isTunnel && protocol !== 'websocket')
    return { status: 501, problem: 'CONNECT is served for websocket only' }
  if (!isTunnel && protocol !== undefined) return bad('the field :protocol is for CONNECT only')
  if (!/^https?$/.test(pseudo.get(':scheme') ?? '')) return bad('the field :scheme must be http or https')
  // HTTP/1.1 would read a space, or the end of a line, as the end of the target.
  if (path === undefined || !/^(?:\/[\x21-\x7e\x80-\xff]*|\*)$/.test(path))
    return bad('the field :path must be a path that begins with "/"')
  if (authority === undefined || !isHost(authority))
    return bad('the field :authority must be a name or an address')
  if (host !== undefined && host.toLowerCase() !== authority.toLowerCase())
    return bad('the fields host and :authority must name the same host')
  if (length !== undefined && !/^\d{1,16}$/.test(length)) return bad('content-length must be a whole number')
  if (isWhole && length !== undefined && Number(length) > 0)
    return bad('content-length tells of a body, and there is none')
  const cookie = cookies.length === 0 ? '' : `cookie: ${cookies.join('; ')}\r\n`
  const start = `${isTunnel ? 'GET' : method} ${path} HTTP/1.1\r\nHost: ${authority}\r\n`
  if (isTunnel)
    return {
      text: `${start}${lines}${cookie}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${webSocketKey}\r\n\r\n`,
      body: 'none',
      isTunnel,
    }
  const connection = /^te: /m.test(lines) ? 'Connection: te\r\n' : ''
  if (isWhole)
    return {
      text: `${start}${lines}${cookie}${connection}${length === undefined ? '' : 'Content-Length: 0\r\n'}\r\n`,
      body: 'none',
      isTunnel,
    }
  return length === undefined
    ? {
        text: `${start}${lines}${cookie}${connection}Transfer-Encoding: chunked\r\n\r\n`,
        body: 'chunked',
        isTunnel,
      }
    : {
        text: `${start}${lines}${cookie}${connection}Content-Length: ${length}\r\n\r\n`,
        body: 'length',
        isTunnel,
      }
}

function bad(problem: string): Http2Problem {
  return { status: 400, problem }
}

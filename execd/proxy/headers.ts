// What happens to header fields on their way through the proxy (contract: execd.md 1.5). Fields that are about one connection,
// and those that `Connection` names, end here in both directions. Lists are names and values in turn, as Node reads and writes
// them: repeated fields stay repeated, and every name keeps its spelling. Pure.

import { EXECD_TOKEN_HEADER } from '../../lib/api/execd.ts'

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])
/** Told anew: where it goes, how it came here, and that we have already asked the client for its body. */
const TOLD_ANEW = new Set([
  'host',
  'expect',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
])
/** What `Connection` cannot take away: what decides where a message goes and where its body ends. */
const NEVER_BY_NAME = new Set(['host', 'content-length', 'content-type'])
/** What a trailer cannot say behind the body (RFC 9110 6.5.1). */
const NEVER_IN_TRAILER = new Set([
  ...HOP_BY_HOP,
  ...TOLD_ANEW,
  EXECD_TOKEN_HEADER,
  'authorization',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'location',
  'set-cookie',
  'trailer',
])

export type RequestHeadersInput = {
  raw: readonly string[]
  method: string
  peer: string
  port: number
  /** The target is execd itself, which asks for the token again. No other program may see it. */
  isOwn: boolean
  /** The protocol to change to, when the client asks to. */
  upgrade?: string
}

/** The header fields for the target. */
export function formatRequestHeaders(input: RequestHeadersInput): string[] {
  const { raw, method, peer, port, isOwn, upgrade } = input
  const named = namesInConnection(raw)
  const headers = ['Host', `127.0.0.1:${port}`]
  let body: 'none' | 'length' | 'chunked' = 'none'
  let takesTrailers = false
  for (const [name, value] of fieldsOf(raw)) {
    const key = name.toLowerCase()
    if (key === 'transfer-encoding') body = 'chunked'
    else if (key === 'content-length' && body === 'none') body = 'length'
    if (key === 'te') takesTrailers ||= /(^|,)\s*trailers\s*(;|,|$)/i.test(value)
    if (HOP_BY_HOP.has(key) || TOLD_ANEW.has(key) || named.has(key)) continue
    if (key === EXECD_TOKEN_HEADER && !isOwn) continue
    headers.push(name, value)
  }
  headers.push('X-Forwarded-For', formatForwardedFor(raw, peer), 'X-Forwarded-Proto', 'http')
  if (takesTrailers) headers.push('TE', 'trailers')
  if (upgrade !== undefined) headers.push('Connection', 'Upgrade', 'Upgrade', upgrade)
  else if (body === 'chunked') headers.push('Transfer-Encoding', 'chunked')
  // Said, because Node would otherwise send an empty body in chunks, which not every server reads.
  else if (body === 'none' && !['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE'].includes(method))
    headers.push('Content-Length', '0')
  return headers
}

/** The header fields for the client. How the body is framed for it is the server's to say; of none, nobody may say how long it is. */
export function formatResponseHeaders(raw: readonly string[], status: number): string[] {
  const named = namesInConnection(raw)
  return fieldsOf(raw).flatMap(([name, value]) => {
    const key = name.toLowerCase()
    // RFC 9110 8.6: not beside 1xx and 204, and clients that believe it wait for bytes that never come.
    const isLie = key === 'content-length' && (status < 200 || status === 204)
    return HOP_BY_HOP.has(key) || named.has(key) || isLie ? [] : [name, value]
  })
}

/** The trailers that may pass, as pairs. */
export function formatTrailers(raw: readonly string[]): [string, string][] {
  return fieldsOf(raw).filter(([name]) => !NEVER_IN_TRAILER.has(name.toLowerCase()))
}

/** Who asked first, as far as it is told, and who asked us. */
function formatForwardedFor(raw: readonly string[], peer: string): string {
  const first =
    fieldValue(raw, 'x-forwarded-for')?.split(',')[0]?.trim() || fieldValue(raw, 'x-real-ip')?.trim()
  return first && first !== peer ? `${first}, ${peer}` : peer
}

/** Whether a request says that it has a body. */
export function hasBody(raw: readonly string[]): boolean {
  return (
    fieldValue(raw, 'transfer-encoding') !== undefined || Number(fieldValue(raw, 'content-length') ?? 0) > 0
  )
}

function fieldValue(raw: readonly string[], wanted: string): string | undefined {
  return fieldsOf(raw).find(([name]) => name.toLowerCase() === wanted)?.[1]
}

function namesInConnection(raw: readonly string[]): Set<string> {
  const names = fieldsOf(raw)
    .filter(([name]) => name.toLowerCase() === 'connection')
    .flatMap(([, value]) => value.split(','))
    .map((name) => name.trim().toLowerCase())
  return new Set(names.filter((name) => name !== '' && !NEVER_BY_NAME.has(name)))
}

function fieldsOf(raw: readonly string[]): [string, string][] {
  return Array.from({ length: raw.length >> 1 }, (_, index) => [
    raw[2 * index] ?? '',
    raw[2 * index + 1] ?? '',
  ])
}

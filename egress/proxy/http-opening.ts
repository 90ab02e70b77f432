// The beginning of a connection to the proxy by HTTP/1.1: CONNECT (RFC 9110 9.3.6), or a request in absolute form (RFC 9112 3.2.2),
// which is made into one in origin form that ends its connection. Pure; what is not plain is refused and never repaired.

import { isIPv6 } from 'node:net'
import type { Field } from '../../lib/http1/fields.ts'
import { formatFields, parseFields } from '../interception/http1-head.ts'
import type { Asked, Opening, RefusalKind } from './asked.ts'

const MAX_HEAD_BYTES = 16_384
const REQUEST_LINE = /^([A-Z]{1,32}) (\S{1,8192}) HTTP\/1\.([01])$/
/** Between the client and us: they are not for the server. */
const OURS = /^(proxy-[a-z-]+|connection|keep-alive|host)$/i
const ACCEPTED = Buffer.from('HTTP/1.1 200 Connection Established\r\n\r\n')
const STATUS: Record<RefusalKind, string> = {
  malformed: '400 Bad Request',
  unsupported: '501 Not Implemented',
  denied: '403 Forbidden',
  unresolved: '502 Bad Gateway',
  crowded: '503 Service Unavailable',
}

export function looksLikeHttpProxy(first: number): boolean {
  return first >= 0x41 && first <= 0x5a
}

/** Reads a request from what has come so far. */
export function readHttpOpening(bytes: Buffer): Opening {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0 && bytes.length <= MAX_HEAD_BYTES) return { is: 'more' }
  if (end < 0 || end > MAX_HEAD_BYTES) return bad(`its request is longer than ${MAX_HEAD_BYTES} bytes`)
  const lineEnd = bytes.indexOf('\r\n')
  const line = bytes.toString('latin1', 0, lineEnd)
  const fields = parseFields(bytes.toString('latin1', lineEnd + 2, end + 2))
  const rest = bytes.subarray(end + 4)
  const [, method = '', target = '', minor] = REQUEST_LINE.exec(line) ?? []
  if (method === '') return bad('it does not begin with an HTTP/1 request')
  if ('problem' in fields) return bad('its request has a field that is not proper')
  if (method === 'CONNECT') {
    const server = readAuthority(target)
    if (!server) return bad('CONNECT must name a host and a port, such as "example.com:443"')
    return { is: 'asked', asked: { via: 'http', ...server, first: rest, accepted: ACCEPTED } }
  }
  const [, scheme, authority = '', path = ''] = /^([a-z]+):\/\/([^/?#]*)(.*)$/i.exec(target) ?? []
  if (scheme === undefined)
    return bad('this is a proxy: it takes CONNECT, and requests whose target is a whole http URL')
  if (scheme.toLowerCase() !== 'http')
    return {
      is: 'bad',
      kind: 'unsupported',
      problem: `it asks for "${scheme}:" by itself: CONNECT leads there`,
    }
  const server = readAuthority(authority, 80)
  if (!server || path.includes('#')) return bad('its target is not a proper http URL')
  const originForm = path.startsWith('/') ? path : `/${path}`
  const head = formatHead({ method, target: originForm, minor: minor ?? '1', authority, fields })
  return {
    is: 'asked',
    asked: { via: 'http', ...server, first: Buffer.concat([head, rest]), accepted: Buffer.alloc(0) },
  }
}

/** Why it gets nothing. */
export function formatHttpRefusal(kind: RefusalKind, reason: string): Buffer {
  const body = `${reason}\n`
  const head = [
    `HTTP/1.1 ${STATUS[kind]}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`)
}

type Head = { method: string; target: string; minor: string; authority: string; fields: readonly Field[] }

function formatHead({ method, target, minor, authority, fields }: Head): Buffer {
  const isUpgrade = fields.some(({ name }) => name.toLowerCase() === 'upgrade')
  const forwarded = [
    { name: 'Host', value: authority },
    ...fields.filter(({ name }) => !OURS.test(name)),
    // The next request may be for another server.
    { name: 'Connection', value: isUpgrade ? 'Upgrade' : 'close' },
  ]
  return Buffer.from(`${method} ${target} HTTP/1.${minor}\r\n${formatFields(forwarded)}\r\n`, 'latin1')
}

function readAuthority(text: string, defaultPort?: number): Pick<Asked, 'host' | 'port'> | undefined {
  const [, v6, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:@/?#[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = v6 ?? plain
  const port = digits === undefined ? defaultPort : Number(digits)
  if (host === undefined || port === undefined || port < 1 || port > 65_535) return undefined
  return v6 !== undefined && !isIPv6(v6) ? undefined : { host, port }
}

function bad(problem: string): Opening {
  return { is: 'bad', kind: 'malformed', problem }
}

// The beginning of a connection to the proxy by SOCKS 5 (RFC 1928): a greeting, then CONNECT to a name or an address. Nobody logs in,
// as the interface that a client comes from says which sandbox it is. Pure.

import type { Opening, RefusalKind } from './asked.ts'

const VERSION = 5
const NO_LOGIN = 0
const NO_METHOD = 0xff
const CONNECT = 1
const IPV4 = 1
const NAME = 3
const IPV6 = 4
const SUCCEEDED = 0
const REPLY: Record<RefusalKind, number> = {
  malformed: 1,
  denied: 2,
  unresolved: 4,
  crowded: 1,
  unsupported: 7,
}

export function looksLikeSocks(first: number): boolean {
  return first === VERSION
}

/** Reads the greeting, and once it was taken (`isGreeted`) the request, from what has come since. */
export function readSocksOpening(bytes: Buffer, isGreeted: boolean): Opening {
  if (bytes.length > 0 && bytes[0] !== VERSION) return bad('it does not speak SOCKS 5')
  return isGreeted ? readRequest(bytes) : readGreeting(bytes)
}

/** Why it gets nothing, in the protocol's few numbers. */
export function formatSocksRefusal(kind: RefusalKind, isGreeted: boolean): Buffer {
  return isGreeted ? formatReply(REPLY[kind]) : Buffer.from([VERSION, NO_METHOD])
}

function readGreeting(bytes: Buffer): Opening {
  const count = bytes[1]
  if (count === undefined || bytes.length < 2 + count) return { is: 'more' }
  if (!bytes.subarray(2, 2 + count).includes(NO_LOGIN))
    return {
      is: 'bad',
      kind: 'unsupported',
      problem: 'it wants to log in, and there is nothing to log in to',
    }
  return { is: 'more', send: Buffer.from([VERSION, NO_LOGIN]), taken: 2 + count }
}

function readRequest(bytes: Buffer): Opening {
  const [, command, , type, length] = bytes
  if (type === undefined) return { is: 'more' }
  if (command !== CONNECT)
    return { is: 'bad', kind: 'unsupported', problem: 'it asks for something other than CONNECT' }
  if (type !== IPV4 && type !== NAME && type !== IPV6) return bad('it names a server in an unknown form')
  if (length === undefined) return { is: 'more' }
  const [from, size] = type === IPV4 ? [4, 4] : type === IPV6 ? [4, 16] : [5, length]
  const end = from + size + 2
  if (bytes.length < end) return { is: 'more' }
  const port = bytes.readUInt16BE(end - 2)
  if (size === 0 || port === 0) return bad('it names no server, or no port')
  const host = formatHost(type, bytes.subarray(from, from + size))
  return {
    is: 'asked',
    asked: { via: 'socks5', host, port, first: bytes.subarray(end), accepted: formatReply(SUCCEEDED) },
  }
}

function formatHost(type: number, bytes: Buffer): string {
  if (type === IPV4) return bytes.join('.')
  if (type === NAME) return bytes.toString('latin1')
  return Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16)).join(':')
}

/** The address that the server saw is nobody's business. */
function formatReply(code: number): Buffer {
  return Buffer.from([VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0])
}

function bad(problem: string): Opening {
  return { is: 'bad', kind: 'malformed', problem }
}

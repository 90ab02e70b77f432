// The PROXY protocol, versions 1 and 2: what a load balancer says before the first byte of the client, so that the client's address
// is not lost. Nothing is guessed: what is not exactly such a header ends the connection. Pure.

import { isIP, SocketAddress } from 'node:net'

export type ProxyHeader =
  | { kind: 'more' }
  | { kind: 'bad'; problem: string }
  /** `address` is absent when the balancer speaks for itself, as it does to see whether anybody is there. */
  | { kind: 'whole'; length: number; address?: string }

const V1 = Buffer.from('PROXY ')
const V2 = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])
/** With the longest addresses, and the line end. */
const MAX_V1_BYTES = 107
/** Addresses, and what balancers add to them. */
const MAX_V2_BYTES = 4096
const PORT = /^(?:0|[1-9]\d{0,4})$/

export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (isBeginning(bytes, V1)) return bytes.length < V1.length ? { kind: 'more' } : parseV1(bytes)
  if (isBeginning(bytes, V2)) return bytes.length < V2.length + 4 ? { kind: 'more' } : parseV2(bytes)
  return bad('the connection must begin with the PROXY protocol')
}

function parseV1(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf('\r\n')
  if (end < 0)
    return bytes.length >= MAX_V1_BYTES ? bad('the line of the PROXY protocol has no end') : { kind: 'more' }
  const length = end + 2
  const [, family, source = '', target = '', sourcePort = '', targetPort = '', ...more] = bytes
    .toString('latin1', 0, end)
    .split(' ')
  if (family === 'UNKNOWN') return { kind: 'whole', length }
  const kind = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : undefined
  const isSound =
    kind !== undefined &&
    isIP(source) === kind &&
    isIP(target) === kind &&
    isPort(sourcePort) &&
    isPort(targetPort) &&
    more.length === 0
  return isSound
    ? { kind: 'whole', length, address: source }
    : bad('the line of the PROXY protocol must name a family, two addresses and two ports')
}

function parseV2(bytes: Buffer): ProxyHeader {
  const command = bytes.readUInt8(12)
  const family = bytes.readUInt8(13)
  const rest = bytes.readUInt16BE(14)
  if (command !== 0x20 && command !== 0x21) return bad('the PROXY protocol has no such version or command')
  if (rest > MAX_V2_BYTES) return bad(`the PROXY protocol's header is longer than ${MAX_V2_BYTES} bytes`)
  const length = 16 + rest
  if (bytes.length < length) return { kind: 'more' }
  if (command === 0x20 || family === 0) return { kind: 'whole', length }
  if (family === 0x11 && rest >= 12)
    return { kind: 'whole', length, address: [...bytes.subarray(16, 20)].join('.') }
  if (family === 0x21 && rest >= 36)
    return { kind: 'whole', length, address: formatIpv6(bytes.subarray(16, 32)) }
  return bad('the PROXY protocol must name TCP over IPv4 or IPv6, with both addresses')
}

function formatIpv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16))
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address
}

function isPort(text: string): boolean {
  return PORT.test(text) && Number(text) <= 65_535
}

function isBeginning(bytes: Buffer, of: Buffer): boolean {
  const length = Math.min(bytes.length, of.length)
  return bytes.subarray(0, length).equals(of.subarray(0, length))
}

function bad(problem: string): ProxyHeader {
  return { kind: 'bad', problem }
}

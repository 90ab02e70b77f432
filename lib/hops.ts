// Who asks, when proxies stand before the gateway, or before control where it has a port of its own. What they say of the client is
// believed of those that the operator has named and of nobody else, from the nearest hop outwards, and no further than the first that
// nobody vouches for. Pure.

import { BlockList, isIP } from 'node:net'
import type { Field } from './http1/fields.ts'
import { isHost } from './http1/host.ts'

/** Where a connection comes from. */
export type Origin = {
  address: string
  isEncrypted: boolean
  /** Whether what its requests say of the client is believed. */
  isTrusted: boolean
  /** It has the connections of many clients, so it may have as many as there are. */
  isUncounted?: true
  /** A stream of HTTP/2. */
  isHttp2?: boolean
}

/** Who made a request, as its receiver is told. */
export type Client = {
  address: string
  isEncrypted: boolean
  /** The client and the hops between. */
  forwardedFor: string
  /** The name by which the client has called it, when a hop has changed that. */
  forwardedHost?: string
  isHttp2?: boolean
}

export type AddressRanges = { has(address: string): boolean }

/** Ranges as they are written in the configuration. */
export function parseRanges(ranges: readonly string[]): AddressRanges {
  if (ranges.length === 0) return { has: () => false }
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', length] = range.split('/')
    const kind = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (length === undefined) list.addAddress(address, kind)
    else list.addSubnet(address, Number(length), kind)
  }
  return {
    has: (address) => isIP(address) !== 0 && list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'),
  }
}

/** The client of every request of a connection that is not trusted to tell of another. */
export function clientOf({ address, isEncrypted, isHttp2 }: Origin): Client {
  return { address, isEncrypted, forwardedFor: address, ...(isHttp2 && { isHttp2 }) }
}

/** The client of a request that has come over a trusted hop. */
export function readClient(origin: Origin, fields: readonly Field[], trusted: AddressRanges): Client {
  const hops = [origin.address]
  const named = fields
    .filter(({ key }) => key === 'x-forwarded-for')
    .flatMap(({ value }) => value.split(','))
    .map((text) => addressIn(text.trim()))
  for (let next = named.pop(); next !== undefined; next = named.pop()) {
    hops.unshift(next)
    if (!trusted.has(next)) break
  }
  const proto = lastOf(fields, 'x-forwarded-proto')?.toLowerCase()
  const host = lastOf(fields, 'x-forwarded-host')
  return {
    address: hops[0] ?? origin.address,
    isEncrypted: proto === 'https' || (proto !== 'http' && origin.isEncrypted),
    forwardedFor: hops.join(', '),
    ...(host !== undefined && isHost(host) && { forwardedHost: host }),
    ...(origin.isHttp2 && { isHttp2: true }),
  }
}

/** An address with a port or without; undefined for anything else, such as `unknown`. */
function addressIn(text: string): string | undefined {
  const bare = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text
  return isIP(bare) === 0 ? undefined : bare
}

/** What the nearest hop says: the last of a list, and the last field. */
function lastOf(fields: readonly Field[], name: string): string | undefined {
  return fields
    .findLast(({ key }) => key === name)
    ?.value.split(',')
    .at(-1)
    ?.trim()
}

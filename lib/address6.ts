// IPv6 addresses as numbers, and the one text of each that the kernel, Node and nft write (RFC 5952). Pure.

import { isIPv4, isIPv6 } from 'node:net'
import ipaddr from 'ipaddr.js'

const BITS = 128n

/** A valid address as a number from 0 to 2^128 - 1. A zone (`%eth0`) is passed over. */
export function parseAddress6(address: string): bigint {
  return ipaddr.IPv6.parse(address.split('%')[0] ?? '')
    .toByteArray()
    .reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
}

export function formatAddress6(address: bigint): string {
  const bytes = Array.from({ length: 16 }, (_, at) => Number((address >> BigInt(120 - 8 * at)) & 0xffn))
  return new ipaddr.IPv6(bytes).toString()
}

/** How an address of either kind is written where it is compared: one way for each. What is no address is given back. */
export function canonicalAddress(address: string): string {
  return isIPv6(address) && !address.includes('%') ? formatAddress6(parseAddress6(address)) : address
}

/**
 * The IPv6 address of who has this IPv4 address: the same number in the last 32 bits of the range, which is a /64 or larger. So both
 * are taken, given back and looked up as one.
 */
export function address6Of(subnet6: string, address4: string): string {
  if (!isIPv4(address4)) throw new Error(`"${address4}" is no IPv4 address`)
  const [base = ''] = subnet6.split('/')
  const low = address4.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n)
  return formatAddress6(parseAddress6(base) | low)
}

/** Both ends of the range that holds an address and has this prefix length. */
export function ends6(address: bigint, prefix: number): { first: bigint; last: bigint } {
  const size = 1n << (BITS - BigInt(prefix))
  const first = (address / size) * size
  return { first, last: first + size - 1n }
}

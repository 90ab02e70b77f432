// Which IPv4 addresses are nobody's business unless a rule names them: private, shared, link-local (with the cloud's metadata
// service), loopback, multicast, reserved. The documentation ranges (TEST-NET) are not among them: nothing lives there that a
// sandbox must be kept from. Ranges are numbers, so that they are compared as addresses and never as text.

import { formatAddress4, parseAddress4 } from '../../lib/api/network-policy.ts'

/** Both ends belong to it. */
export type Range = { first: number; last: number }

const CLOSED = {
  '0.0.0.0/8': 'this network',
  '10.0.0.0/8': 'private',
  '100.64.0.0/10': 'shared by carriers',
  '127.0.0.0/8': 'loopback',
  // One cloud serves its machines' configuration at a public address.
  '168.63.129.16/32': 'metadata',
  '169.254.0.0/16': 'link-local',
  '172.16.0.0/12': 'private',
  '192.0.0.0/24': 'protocol assignments',
  '192.88.99.0/24': 'relays of 6to4',
  '192.168.0.0/16': 'private',
  '198.18.0.0/15': 'benchmarks',
  '224.0.0.0/4': 'multicast',
  '240.0.0.0/4': 'reserved',
}

const CLOSED_RANGES = Object.entries(CLOSED).map(([cidr, reason]) => ({
  ...parseRange(cidr),
  reason,
}))

/** The ranges that are closed by default, without overlaps. */
export const closedRanges: readonly Range[] = mergeRanges(CLOSED_RANGES)

/** Why an address is closed by default, or undefined when it is a public one. */
export function closedReason(address: string): string | undefined {
  const number = parseAddress4(address)
  return CLOSED_RANGES.find(({ first, last }) => number >= first && number <= last)?.reason
}

/** Whether any of the ranges holds the address. */
export function covers(ranges: readonly Range[], address: string): boolean {
  const number = parseAddress4(address)
  return ranges.some(({ first, last }) => number >= first && number <= last)
}

/** A range from its CIDR text, which must be valid. */
export function parseRange(cidr: string): Range {
  const [address = '', prefix = '32'] = cidr.split('/')
  return rangeOf(parseAddress4(address), Number(prefix))
}

/** The range that begins at `first` and has this prefix length. */
export function rangeOf(first: number, prefix: number): Range {
  const size = 2 ** (32 - prefix)
  const start = Math.floor(first / size) * size
  return { first: start, last: start + size - 1 }
}

/** Sorted, with overlapping and adjacent ranges joined: what an nft interval set accepts. */
export function mergeRanges(ranges: readonly Range[]): Range[] {
  const merged: Range[] = []
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const before = merged.at(-1)
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last)
    else merged.push({ first, last })
  }
  return merged
}

/** As nft writes it: one address, or `first-last`. */
export function formatRange({ first, last }: Range): string {
  return first === last ? formatAddress4(first) : `${formatAddress4(first)}-${formatAddress4(last)}`
}

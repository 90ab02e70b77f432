// What IPv6 addresses are, as policy/addresses.ts for IPv4. Public are those of 2000::/3 and nothing else, but for what is taken out of
// it here; and those that carry an IPv4 address, by which a translator on the way leads to that one, are what it is: open or closed by
// it, and by the rules that are about it.

import { ends6, formatAddress6, parseAddress6 } from '../../lib/address6.ts'
import { formatAddress4 } from '../../lib/api/network-policy.ts'
import { closedRanges, closedReason, type Range } from './addresses.ts'

/** Both ends belong to it. */
export type Range6 = { first: bigint; last: bigint }

/** The first that holds an address decides, so narrow ones come first. */
const CLOSED = {
  '::/128': 'unspecified',
  '::1/128': 'loopback',
  // What clouds tell their machines.
  'fd00:ec2::254/128': 'metadata',
  'fd00:ec2::23/128': 'metadata',
  'fd00:ec2::253/128': 'metadata',
  'fd20:ce::254/128': 'metadata',
  'fd00:c1::a9fe:a9fe/128': 'metadata',
  '64:ff9b:1::/48': 'local NAT64',
  '100::/64': 'discarded',
  '2001::/32': 'Teredo',
  '2001:20::/28': 'ORCHID',
  '5f00::/16': 'segment routing',
  'fc00::/7': 'private',
  'fe80::/10': 'link-local',
  'fec0::/10': 'site-local',
  'ff00::/8': 'multicast',
}
const CLOSED_RANGES = Object.entries(CLOSED).map(([cidr, reason]) => ({ ...parseRange6(cidr), reason }))
const PUBLIC = parseRange6('2000::/3')

/** Where an IPv4 address stands in one of IPv6: after which block, and how many bits follow it. */
type Embedding = { block: Range6; shift: bigint; kind: string }
/** Translators read these. */
const TRANSLATED: readonly Embedding[] = [
  { block: parseRange6('64:ff9b::/96'), shift: 0n, kind: 'NAT64' },
  { block: parseRange6('2002::/16'), shift: 80n, kind: '6to4' },
]
/** And these never leave a machine in earnest. */
const UNSENT: readonly Embedding[] = [
  { block: parseRange6('::ffff:0:0/96'), shift: 0n, kind: 'mapped' },
  { block: parseRange6('::ffff:0:0:0/96'), shift: 0n, kind: 'translated' },
  { block: parseRange6('::/96'), shift: 0n, kind: 'IPv4-compatible' },
]
const MAX_4 = 0xffff_ffffn

/** What no rule for a wider range opens. */
const METADATA = CLOSED_RANGES.filter(({ reason }) => reason === 'metadata')
const NEVER_OPENED: readonly Range6[] = [
  // Judged as the addresses in them.
  ...TRANSLATED.map(({ block }) => block),
  // Nobody can tell what is in them.
  ...CLOSED_RANGES.filter(({ reason }) => ['local NAT64', 'Teredo'].includes(reason)),
  ...UNSENT.map(({ block }) => block),
  ...CLOSED_RANGES.filter(({ reason }) => ['link-local', 'site-local', 'multicast'].includes(reason)),
]

/** The ranges that are closed by default, without overlaps. */
export const closedRanges6: readonly Range6[] = mergeRanges6([
  ...subtractRanges6([ends6(0n, 0)], [PUBLIC, ...TRANSLATED.map(({ block }) => block)]),
  ...CLOSED_RANGES,
  ...closedRanges.flatMap(imagesOf),
])

/** Why an IPv6 address is closed by default, or undefined when it is a public one. */
export function closedReason6(address: string): string | undefined {
  const number = parseAddress6(address)
  const holds = ({ first, last }: Range6) => number >= first && number <= last
  const block = CLOSED_RANGES.find(holds)
  if (block) return block.reason
  const unsent = UNSENT.find(({ block: range }) => holds(range))
  if (unsent) return describeInside(number, unsent)
  const translated = TRANSLATED.find(({ block: range }) => holds(range))
  if (translated) return closedReason(insideOf(number, translated)) && describeInside(number, translated)
  return holds(PUBLIC) ? undefined : 'not assigned'
}

/** The IPv4 address that a translator would lead to, when there is one; what is decided of it is decided of this one. */
export function translatedOf(address: string): { kind: string; inside: string } | undefined {
  const number = parseAddress6(address)
  const found = TRANSLATED.find(({ block: { first, last } }) => number >= first && number <= last)
  return found && { kind: found.kind, inside: insideOf(number, found) }
}

/** The IPv6 addresses by which a translator leads to these. */
export function imagesOf({ first, last }: Range): Range6[] {
  return TRANSLATED.map(({ block, shift }) => ({
    first: block.first | (BigInt(first) << shift),
    last: block.first | (BigInt(last) << shift) | ((1n << shift) - 1n),
  }))
}

/**
 * What a rule opens that allows these: not what leads to IPv4 addresses or stays on a link, and what clouds tell their machines only
 * when it names that one address.
 */
export function openedBy6(ranges: readonly Range6[]): Range6[] {
  const isMetadata = ({ first, last }: Range6) =>
    first === last && METADATA.some((one) => one.first === first)
  return [...ranges.filter(isMetadata), ...subtractRanges6(ranges, [...NEVER_OPENED, ...METADATA])]
}

/** Whether any of the ranges holds the address. */
export function covers6(ranges: readonly Range6[], address: string): boolean {
  const number = parseAddress6(address)
  return ranges.some(({ first, last }) => number >= first && number <= last)
}

/** A range from its CIDR text, which must be valid. */
export function parseRange6(cidr: string): Range6 {
  const [address = '', prefix = '128'] = cidr.split('/')
  return ends6(parseAddress6(address), Number(prefix))
}

/** Sorted, with overlapping and adjacent ranges joined: what an nft interval set accepts. */
export function mergeRanges6(ranges: readonly Range6[]): Range6[] {
  const merged: Range6[] = []
  for (const { first, last } of [...ranges].sort((a, b) => (a.first < b.first ? -1 : 1))) {
    const before = merged.at(-1)
    if (before && first <= before.last + 1n) before.last = last > before.last ? last : before.last
    else merged.push({ first, last })
  }
  return merged
}

/** What is left of ranges without these others. */
export function subtractRanges6(ranges: readonly Range6[], without: readonly Range6[]): Range6[] {
  return without.reduce<Range6[]>(
    (left, hole) =>
      left.flatMap(({ first, last }) => {
        if (hole.last < first || hole.first > last) return [{ first, last }]
        return [
          ...(first < hole.first ? [{ first, last: hole.first - 1n }] : []),
          ...(last > hole.last ? [{ first: hole.last + 1n, last }] : []),
        ]
      }),
    [...ranges],
  )
}

/** As nft writes it: one address, or `first-last`. */
export function formatRange6({ first, last }: Range6): string {
  return first === last ? formatAddress6(first) : `${formatAddress6(first)}-${formatAddress6(last)}`
}

function insideOf(number: bigint, { shift }: Embedding): string {
  return formatAddress4(Number((number >> shift) & MAX_4))
}

function describeInside(number: bigint, embedding: Embedding): string {
  const inside = insideOf(number, embedding)
  const reason = closedReason(inside)
  return `${embedding.kind} ${inside}${reason === undefined ? '' : `: ${reason}`}`
}

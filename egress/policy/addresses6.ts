// What an IPv6 address is. Sandboxes have none and reach none: this is for who asks why, and for addresses that carry an IPv4 address
// in them, by which a translator on the way would lead to what is closed.

import { isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import { closedReason } from './addresses.ts'

type Block = [range: string, prefix: number, reason: string]

/** The first that holds an address decides, so narrow ones come first. */
const BLOCKS: Block[] = [
  ['::', 128, 'unspecified'],
  ['::1', 128, 'loopback'],
  ['fd00:ec2::254', 128, 'metadata'],
  ['fd00:ec2::23', 128, 'metadata'],
  ['fd00:ec2::253', 128, 'metadata'],
  ['fd20:ce::254', 128, 'metadata'],
  ['fd00:c1::a9fe:a9fe', 128, 'metadata'],
  ['64:ff9b:1::', 48, 'local NAT64'],
  ['100::', 64, 'discarded'],
  ['2001::', 32, 'Teredo'],
  ['2001:20::', 28, 'ORCHID'],
  ['2001:db8::', 32, 'documentation'],
  ['3fff::', 20, 'documentation'],
  ['5f00::', 16, 'segment routing'],
  ['fc00::', 7, 'private'],
  ['fe80::', 10, 'link-local'],
  ['fec0::', 10, 'site-local'],
  ['ff00::', 8, 'multicast'],
]
const PARSED = BLOCKS.map(([range, prefix, reason]) => ({
  range: ipaddr.IPv6.parse(range),
  prefix,
  reason,
}))
/** Where an IPv4 address stands in one of IPv6: after which block, and from which byte on. */
const EMBEDDED = [
  { block: '::ffff:0:0', prefix: 96, at: 12, kind: 'mapped' },
  { block: '::ffff:0:0:0', prefix: 96, at: 12, kind: 'translated' },
  { block: '64:ff9b::', prefix: 96, at: 12, kind: 'NAT64' },
  { block: '2002::', prefix: 16, at: 2, kind: '6to4' },
  { block: '::', prefix: 96, at: 12, kind: 'IPv4-compatible' },
].map(({ block, ...rest }) => ({ ...rest, block: ipaddr.IPv6.parse(block) }))

/** Why an IPv6 address is closed by default, or undefined when it is a public one. A zone (`%eth0`) is passed over. */
export function closedReason6(text: string): string | undefined {
  const address = ipaddr.IPv6.parse(text.split('%')[0] ?? '')
  const block = PARSED.find(({ range, prefix }) => address.match(range, prefix))
  if (block) return block.reason
  const embedded = EMBEDDED.find(({ block: range, prefix }) => address.match(range, prefix))
  if (!embedded) return undefined
  const inside = address
    .toByteArray()
    .slice(embedded.at, embedded.at + 4)
    .join('.')
  const reason = isIPv4(inside) ? closedReason(inside) : undefined
  return `${embedded.kind} ${inside}${reason === undefined ? '' : `: ${reason}`}`
}

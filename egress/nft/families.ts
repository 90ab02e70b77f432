// In what the rules for IPv4 and those for IPv6 differ.

import { formatRange } from '../policy/addresses.ts'
import { formatRange6, imagesOf, mergeRanges6 } from '../policy/addresses6.ts'
import type { Layer } from '../policy/compile.ts'
import type { Base6 } from './rules6.ts'

export type Family = {
  is: 4 | 6
  /** What the kernel compares with a set of addresses, and what such a set has. */
  destination: string
  type: string
  closed: string
  /** How the names of the sets of learned addresses begin. */
  learned: string
  icmp: string
  /** How a packet is led to the relay. */
  relay: string
  /** The ranges of a layer, and those of them that a rule names as one address, as nft writes them. */
  rangesOf(layer: Layer): string[]
  hostsOf(layer: Layer): string[]
}

/** The kinds of addresses that sandboxes have. */
export function familiesOf({
  relayPort,
  mark,
  relay = `tproxy ip to 127.0.0.1:${relayPort} meta mark set ${mark} accept`,
  ipv6,
}: {
  relayPort: number
  mark: number
  relay?: string
  ipv6?: Base6
}): Family[] {
  const four: Family = {
    is: 4,
    destination: 'ip daddr',
    type: 'ipv4_addr',
    closed: 'closed',
    learned: 'learned',
    icmp: 'icmp',
    relay,
    rangesOf: ({ ranges }) => ranges.map(formatRange),
    hostsOf: ({ hosts }) => hosts.map(formatRange),
  }
  if (!ipv6) return [four]
  const six: Family = {
    is: 6,
    destination: 'ip6 daddr',
    type: 'ipv6_addr',
    closed: 'closed6',
    learned: 'learned6',
    icmp: 'icmpv6',
    relay: `tproxy ip6 to [::1]:${ipv6.relayPort} meta mark set ${mark} accept`,
    // What is said of IPv4 addresses is said of the ways that lead to them by a translator, too.
    rangesOf: ({ ranges, ranges6 }) =>
      mergeRanges6([...ranges6, ...ranges.flatMap(imagesOf)]).map(formatRange6),
    hostsOf: ({ hosts6 }) => hosts6.map(formatRange6),
  }
  return [four, six]
}

/** The kind that an address is of; undefined where sandboxes have no such addresses. */
export function familyOf(families: readonly Family[], address: string): Family | undefined {
  const is = address.includes(':') ? 6 : 4
  return families.find((family) => family.is === is)
}

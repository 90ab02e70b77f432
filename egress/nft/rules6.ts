// What the table has more where sandboxes have IPv6, as text: sets and chains beside those of IPv4, with the same names and a 6, and the
// lines that go into the chains of both. A packet of IPv6 goes the same way as one of IPv4, and before it:
//
//   raw6     what IPv6 says at every interface to find its neighbours is dropped, as both ends of a pair know each other already, so that
//            nothing that a sandbox says of neighbours, routers or groups is heard; with a header before the one that says what it is
//            (options, routes, what is left of fragments, which the kernel has joined before) nobody could judge it
//   nowhere  where the host has no way by IPv6 it is remembered as refused, and the kernel answers

import { closedRanges6, formatRange6 } from '../policy/addresses6.ts'
import { JUDGED_MARK } from './guard.ts'
import { formatRefusedSets6 } from './refused-sets.ts'

export type Base6 = {
  /** The range of the sandboxes, and the address of everyone's gateway. */
  subnet: string
  gateway: string
  /** Where the same listen as for IPv4: the name server on the gateway's address, the relay on the loopback address. */
  dnsPort: number
  relayPort: number
}

/** Of ICMPv6: what is said to all and means nothing here, too often to be remembered. */
export const USUAL =
  'nd-router-solicit, nd-neighbor-solicit, mld-listener-report, mld-listener-done, mld2-listener-report'
/** And what would change how others find their way. */
const NEIGHBOURS = `${USUAL}, nd-router-advert, nd-neighbor-advert, nd-redirect, mld-listener-query`
/** Hop by hop, routing, fragment, authentication, destination options, mobility, HIP, Shim6. */
const EXTENSION_HEADERS = '0, 43, 44, 51, 60, 135, 139, 140'

export const ICMP_OF_BOTH = '{ icmp, icmpv6 }'

export function formatSets6(): string {
  return `  set registered6 { type ifname . ipv6_addr; }
  set closed6 { type ipv6_addr; flags interval; elements = { ${closedRanges6.map(formatRange6).join(', ')} }; }
${formatRefusedSets6()}`
}

export function formatChains6({ subnet }: Base6, { mark }: { mark: number }): string {
  return `  chain raw6 {
    ip6 daddr ff00::/8 icmpv6 type { ${USUAL} } drop
    iifname . ip6 saddr != @registered6 goto spoofing6
    ip6 nexthdr { ${EXTENSION_HEADERS} } goto lost
    icmpv6 type { ${NEIGHBOURS} } goto lost
    meta mark set ${JUDGED_MARK} accept
  }
  chain nowhere6 {
    ip6 daddr { fe80::/10, ff00::/8 } goto lost
    fib daddr type local accept
    ip6 daddr ${subnet} fib daddr oif missing goto lost
    meta mark != ${mark} fib daddr oif missing jump remember
  }
`
}

/** Lines of chains of both, by the name of the chain. */
export function linesOf6(
  { subnet, gateway, dnsPort }: Base6,
  { own, pass, askRate }: { own: string; pass: string; askRate: string },
): Record<'dns' | 'nowhere' | 'input' | 'forward' | 'nat', string> {
  return {
    dns: `    iifname ${own} meta nfproto ipv6 meta l4proto { tcp, udp } th dport 53 dnat ip6 to [${gateway}]:${dnsPort}\n`,
    nowhere: `    iifname ${own} meta nfproto ipv6 goto nowhere6\n`,
    input: `    ip6 daddr ${gateway} udp dport ${dnsPort} ct original proto-dst 53 update @asking { iifname ${askRate} } drop
    ip6 daddr ${gateway} meta l4proto { tcp, udp } th dport ${dnsPort} ct original proto-dst 53 ${pass}
    ip6 daddr ${subnet} goto refuse
`,
    forward: `    ip6 daddr ${subnet} goto refuse\n`,
    nat: `    ip6 saddr ${subnet} oifname != ${own} masquerade\n`,
  }
}

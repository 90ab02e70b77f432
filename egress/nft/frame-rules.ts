// What a sandbox sends that is neither IPv4 nor ARP, as text: the kernel drops it before any rule of ours (rules.ts) sees it, as the host's
// end of the link has no IPv6 and nobody takes other types. Here it is seen where it comes in, remembered as refused, and dropped a
// moment sooner. Nothing depends on it: where this table is gone, or the kernel has no such tables, the frames are dropped all the same,
// and are in no record.
//
// Of the family netdev, as only that sees frames of every type. It has one chain for each interface, which decides that a frame is none of
// IPv4 and leaves the rest to chains of all:
//   other  ARP goes on, and IPv6 where sandboxes have it, to meet the rules of both
//   six    without IPv6: what a machine says by itself at every interface is dropped and only counted, everything else remembered by
//          where it was to go
//   kind   anything else, tagged frames too, remembered by its type

import { REFUSED_BOUNDS } from './refused-sets.ts'
import type { RulesNames } from './rules.ts'
import { USUAL } from './rules6.ts'
import { formatShares, TELL_FEW, TELL_MOST } from './shares.ts'

type Names = Pick<RulesNames, 'table'>

/** Stands among addresses for that there was more: nobody reaches it. */
export const UNTOLD_6 = '::'
/** Likewise among types, where small numbers are lengths of frames that have none; all of these are 0. */
export const UNTOLD_TYPE = 1
export const NO_TYPE = 0
const FIRST_TYPE = 0x600

/** Before whatever other programs do there. */
const PRIORITY = -500
const COUNTERS = ['telling', 'telling_few']
const NOTE_UNTOLD = `add @frames { iifname . ${UNTOLD_6} . 255 . 0 } drop`
const HAS_PORTS = 'meta l4proto { tcp, udp }'
const HAS_NONE = 'meta l4proto != { tcp, udp }'
const PLACE = 'iifname . ip6 daddr . meta l4proto'

/** Replaces the whole table by one without sandboxes. */
export function formatFrames({ table }: Names, { ipv6 }: { ipv6: boolean }): string {
  return `add table netdev ${table}
delete table netdev ${table}
table netdev ${table} {
  set frames { type ifname . ipv6_addr . inet_proto . inet_service; ${REFUSED_BOUNDS} }
  set kinds { type ifname . ether_type; ${REFUSED_BOUNDS} }
${formatShares(COUNTERS)}  chain kind {
    ether type < ${FIRST_TYPE} add @kinds { iifname . ${NO_TYPE} } drop
    iifname . ether type @kinds drop
    update @telling_few { iifname ${TELL_FEW} } add @kinds { iifname . ${UNTOLD_TYPE} } drop
    add @kinds { iifname . ether type } drop
    drop
  }
  chain six {
    ip6 daddr ff00::/8 icmpv6 type { ${USUAL} } counter drop
    ip6 daddr ${UNTOLD_6} goto kind
    ${HAS_PORTS} ${PLACE} . th dport @frames drop
    ${HAS_PORTS} update @telling { iifname ${TELL_MOST} } ${NOTE_UNTOLD}
    ${HAS_NONE} update @telling_few { iifname ${TELL_FEW} } ${NOTE_UNTOLD}
    ${HAS_PORTS} add @frames { ${PLACE} . th dport } drop
    ${HAS_NONE} add @frames { ${PLACE} . 0 } drop
    goto kind
  }
  chain other {
    ether type arp accept
    ether type ip6 ${ipv6 ? 'accept' : 'goto six'}
    goto kind
  }
}
`
}

/** Looks at what comes in by an interface; once more is as good. Until Linux 6.16 the kernel refuses it for one that is not there. */
export function formatFramesOf({ table }: Names, name: string): string {
  const chain = `chain netdev ${table} ${name}`
  return `add ${chain} { type filter hook ingress device "${name}" priority ${PRIORITY}; policy accept; }
flush ${chain}
add rule netdev ${table} ${name} ether type != ip goto other
`
}

/** Looks no more. Older kernels have taken the chain away with the interface, so it is there for certain before it goes. */
export function formatFramesLess({ table }: Names, name: string): string {
  const chain = `chain netdev ${table} ${name}`
  return `add ${chain}\ndelete ${chain}\n`
}

/** Removes the table; not an error when there is none. */
export function formatFramesTeardown({ table }: Names): string {
  return `add table netdev ${table}\ndelete table netdev ${table}\n`
}

// The packet rules of a pod, as text: its containers share one network, in which egress is one process among those that it judges. What
// a policy allows is said by the same chains as for sandboxes behind interfaces (`nft/rules.ts`); here is how packets get to them.
//
// A packet that is made in the pod passes these in order:
//   own      one of a socket of egress's own container is tracked apart from all others. A socket's container is known by its cgroup,
//            which nobody takes who cannot write to that of egress: no capability and no user id is worth anything there
//   divert   TCP to an address that a name led to is routed back into the pod, to egress (`relay`), for as long as it lasts
//   dns      port 53, whatever server it was meant for, goes to egress
//   out      everything that leaves the pod: egress's own; answers to who called from outside; what the policy allows. Nothing else, and
//            no IPv6 but answers; what a machine says of its groups by itself is dropped without a word
// A packet that comes into the pod passes `in`: connections by TCP from outside are for services of the pod, and the port of the API is
// egress's alone, also while egress is away. What is no TCP comes in only as part of what the policy in force has let out. Programs of the
// pod reach each other as they like, and of egress its two servers: what else it has open waits for somebody's answer, such as that of a
// name server in the pod, which nobody else is to give.
//
// While egress is away, all of it stays: names are not answered, what would be relayed is refused.

import { FOR_NOBODY, formatOwnConnections, MAX_POLICY_MARK } from '../nft/own-connections.ts'
import { formatPolicy } from '../nft/policy-rules.ts'
import { formatRefusedSets, REFUSED_SET_6 } from '../nft/refused-sets.ts'
import type { BaseRules, RulesNames } from '../nft/rules.ts'
import { USUAL } from '../nft/rules6.ts'
import { closedRanges, formatRange } from '../policy/addresses.ts'
import type { TableForm } from '../sandboxes.ts'
import type { OwnCgroup } from './own-cgroup.ts'

export type PodForm = {
  /** The one sandbox. */
  id: string
  own: OwnCgroup
  apiPort: number
}

/** Of the connections that egress has begun, in the direction in which it has. */
const OWN_ZONE = 1
/** Marks of connections. */
const OWN = MAX_POLICY_MARK + 1
const RELAYED = MAX_POLICY_MARK + 2

/** Neighbours of a link find each other by these (RFC 4861); nobody sends them who may not send raw packets. */
const NEIGHBOURS =
  'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert }'

/** How a packet that is made in the pod is led to the relay. */
export function podRelay(mark: number): string {
  return `ct mark set ${RELAYED} meta mark set ${mark} accept`
}

/** The table of a pod whose one sandbox is `id`. */
export function createPodForm(form: PodForm): TableForm {
  return {
    formatTable: (base, sandboxes) =>
      `${formatBase(base, form)}${sandboxes.map((sandbox) => formatPolicy(base, sandbox)).join('')}`,
    formatAdd: formatPolicy,
    // It is there for as long as the pod is.
    formatRemove: formatClosed,
    formatClosed,
  }
}

/** Lets nothing out of the pod, whatever is left of the table. */
function formatClosed({ table }: Pick<RulesNames, 'table'>): string {
  return `add table inet ${table}
add chain inet ${table} out { type filter hook output priority filter - 1; policy drop; }
insert rule inet ${table} out oifname != "lo" drop
`
}

function formatBase({ table, dnsPort, relayPort, mark }: BaseRules, { id, own, apiPort }: PodForm): string {
  const isOwn = `socket cgroupv2 level ${own.level} "${own.path}"`
  // Only what was tracked by the rule of `own` at this very packet can be found there in this direction.
  const ours = `ct direction original ct original zone ${OWN_ZONE}`
  const isNamed = 'meta l4proto { tcp, udp } th dport 53'
  return `add table inet ${table}
delete table inet ${table}
table inet ${table} {
  set closed { type ipv4_addr; flags interval; elements = { ${closedRanges.map(formatRange).join(', ')} }; }
${formatRefusedSets()}${REFUSED_SET_6}  chain forward-${id} { }
  chain input-${id} { }
  chain divert-${id} { }
  chain reply-${id} { }
  chain refuse {
    meta l4proto { tcp, udp } add @refused { oifname . ip daddr . meta l4proto . th dport }
    meta l4proto != { tcp, udp } add @refused { oifname . ip daddr . meta l4proto . 0 }
    meta l4proto { tcp, udp } add @refused6 { oifname . ip6 daddr . meta l4proto . th dport }
    meta l4proto != { tcp, udp } add @refused6 { oifname . ip6 daddr . meta l4proto . 0 }
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }
${formatOwnConnections({ notOwn: 'drop' })}  chain own {
    type filter hook output priority raw; policy accept;
    ${isOwn} ct original zone set ${OWN_ZONE}
  }
  chain divert {
    type route hook output priority mangle; policy accept;
    meta nfproto != ipv4 accept
    meta l4proto != tcp accept
    ${ours} accept
    ct direction reply accept
    ct mark ${RELAYED} meta mark set ${mark} accept
    fib daddr type local accept
    tcp dport { 53, 853 } accept
    goto divert-${id}
  }
  chain relay {
    type filter hook prerouting priority mangle; policy accept;
    iifname "lo" meta mark ${mark} goto to_relay
  }
  chain to_relay {
    meta l4proto tcp tproxy ip to 127.0.0.1:${relayPort} accept
    reject with tcp reset
  }
  chain dns {
    type nat hook output priority -101; policy accept;
    ${ours} accept
    meta nfproto ipv4 ${isNamed} redirect to :${dnsPort}
  }
  chain out {
    type filter hook output priority filter - 1; policy drop;
    ${ours} ct mark set ${OWN} accept
    ct direction reply accept
    ct state related meta l4proto { icmp, ipv6-icmp } accept
    oifname "lo" goto inside
    meta l4proto tcp meta mark ${mark} accept
    meta l4proto ipv6-icmp ${NEIGHBOURS} accept
    ip6 daddr ff00::/8 icmpv6 type { ${USUAL} } drop
    meta nfproto != ipv4 goto refuse
    fib saddr type != local add @spoofed { oifname . ip saddr } drop
    ip daddr 127.0.0.1 meta l4proto { tcp, udp } th dport ${dnsPort} ct original proto-dst 53 accept
    meta l4proto { tcp, udp } th dport 853 goto refuse
    goto forward-${id}
  }
  chain inside {
    ip daddr 127.0.0.0/8 tcp dport ${relayPort} goto refuse
    accept
  }
  chain in {
    type filter hook input priority filter - 1; policy accept;
    iifname "lo" goto from_within
    meta l4proto ipv6-icmp ${NEIGHBOURS} accept
    ct direction original goto from_outside
    ct mark ${OWN} accept
    ${FOR_NOBODY}
    meta l4proto tcp accept
    ct state related accept
    goto reply-${id}
  }
  chain from_within {
    ${ours} accept
    ct direction reply accept
    meta mark ${mark} accept
    meta l4proto { tcp, udp } th dport { ${dnsPort}, ${apiPort} } accept
    ${isOwn} goto refuse
    accept
  }
  chain from_outside {
    tcp dport ${apiPort} ct state new ${isOwn} accept
    tcp dport ${apiPort} ct state new drop
    meta l4proto tcp accept
    ct state related meta l4proto { icmp, ipv6-icmp } accept
    drop
  }
  chain through {
    type filter hook forward priority filter - 1; policy drop;
  }
}
`
}

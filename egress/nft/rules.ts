// The packet rules, as text. One table holds everything of an installation; `nft/apply.ts` hands the text to the kernel.
//
// A packet from a sandbox passes these in order:
//   raw      its interface must be registered and its source be the registered address: anything else is dropped, IPv6 too where
//            there is none, so a sandbox has nothing before egress knows it, and cannot pretend to be another
//   dns      port 53, whatever server it was meant for, goes to egress's own
//   nowhere  what the kernel would drop for want of a route, groups and free addresses, and what comes in frames that are not for the host
//            alone, goes no further and is remembered as refused
//   divert   TCP to an address that a name led to goes to egress, which lets it pass when its client names that name. What begins a
//            connection is led there anew, as the kernel would refuse it at first where the last one by its ports has ended just now
//   input    (to the host) only that DNS, answers to the host's own connections, and single host addresses that a rule names
//   forward  (elsewhere) never to another sandbox, never DNS over TLS, then the sandbox's own chain: denied ranges, allowed
//            ranges, closed ranges, the default action
// A packet to a sandbox passes only as part of a connection that this sandbox or the host began (`reply`), also when the host sends it.
// The kernel remembers connections for days, so what servers still send to a sandbox that has gone could be for the next one at its
// address; connections are marked by whose they are (own-connections.ts), and nobody takes part in another's by sending, either.
//
// Every packet of a connection that the sandbox began is judged, not only the first: one that a stricter policy no longer allows
// ends. What egress relays it ends itself. While egress is away, nothing is diverted, and what would be is refused.
//
// Packets of registered sandboxes are marked, and again where they may pass: without these marks guard.ts lets nothing through.

import { closedRanges, formatRange } from '../policy/addresses.ts'
import type { CompiledPolicy } from '../policy/compile.ts'
import { familiesOf, familyOf } from './families.ts'
import { JUDGED_MARK } from './guard.ts'
import { FOR_NOBODY, formatFromHost, formatOwnConnections } from './own-connections.ts'
import {
  chainsOf,
  divertChain,
  formatPolicy,
  formatTimed,
  forwardChain,
  inputChain,
  learnedSet,
  PASS,
  replyChain,
} from './policy-rules.ts'
import { formatRefusedSets } from './refused-sets.ts'
import { type Base6, formatChains6, formatSets6, ICMP_OF_BOTH, linesOf6 } from './rules6.ts'
import { formatAskRate, formatRemember, formatShares, formatSpoofing } from './shares.ts'

export type RulesNames = {
  /** The installation's table, without its family. */
  table: string
  interfacePrefix: string
}

export type BaseRules = RulesNames & {
  subnet: string
  gateway: string
  /** Where egress's DNS server listens on the gateway's address. */
  dnsPort: number
  /** How many questions a second one sandbox is answered. */
  dnsPerSecond?: number
  /** Where the proxy that programs may ask listens on the gateway's address, when there is one. */
  proxyPort?: number
  /** Where egress takes the connections that names have opened, on the loopback address. */
  relayPort: number
  /** By which the host's routing knows a packet that is led there. */
  mark: number
  /** How a packet is led there: the default is for packets that come in by an interface. */
  relay?: string
  /** Where sandboxes have IPv6. */
  ipv6?: Base6
}

export type SandboxRules = {
  id: string
  address: string
  /** Where sandboxes have IPv6. */
  address6?: string
  interface: string
  policy: CompiledPolicy
  learned: readonly LearnedElement[]
  /** Where its requests may be read, when they may. */
  readPorts?: readonly number[]
  /** It may have connections that no mark says to be its own, as an earlier version has let them begin. */
  hasUnmarked?: boolean
  /** It may have others than those of TCP whose marks do not say that they are its own, for the same reason. */
  hasOtherMarks?: boolean
}

export type LearnedElement = {
  address: string
  seconds: number
  /** Whether the kernel may have it already, with less time left. */
  isThere?: boolean
}

/** Groups, and everybody. */
const WITHOUT_ROUTE = '{ 224.0.0.0/4, 255.255.255.255 }'
/** The table's name for an installation's key. */
export function tableName(key: string): string {
  return `opensandbox_${key}`
}

/** Replaces the whole table by one with these sandboxes: no moment without rules, and applying twice changes nothing. */
export function formatTable(base: BaseRules, sandboxes: readonly SandboxRules[]): string {
  const { table, interfacePrefix, subnet, gateway, dnsPort, dnsPerSecond, proxyPort, mark, ipv6 } = base
  const own = `"${interfacePrefix}*"`
  const askRate = formatAskRate(dnsPerSecond)
  const more = ipv6 && linesOf6(ipv6, { own, pass: PASS, askRate })
  const icmp = ipv6 ? ICMP_OF_BOTH : 'icmp'
  return `add table inet ${table}
delete table inet ${table}
table inet ${table} {
  set registered { type ifname . ipv4_addr; }
  map forward_by { type ifname : verdict; }
  map input_by { type ifname : verdict; }
  map divert_by { type ifname : verdict; }
  map reply_by { type ifname : verdict; }
  set closed { type ipv4_addr; flags interval; elements = { ${closedRanges.map(formatRange).join(', ')} }; }
${formatRefusedSets()}${formatShares()}${ipv6 ? formatSets6() : ''}${formatRemember({ ipv6: ipv6 !== undefined })}  chain refuse {
    jump remember
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }
  chain lost {
    jump remember
    drop
  }
${formatOwnConnections({ notOwn: `iifname ${own} goto lost\n    drop` })}${formatSpoofing({ ipv6: ipv6 !== undefined })}${ipv6 ? formatChains6(ipv6, { mark }) : ''}  chain raw {
    type filter hook prerouting priority raw; policy accept;
    iifname ${own} ${ipv6 ? 'meta nfproto ipv6 goto raw6' : 'meta nfproto != ipv4 drop'}
    iifname ${own} iifname . ip saddr != @registered goto spoofing
    iifname ${own} meta mark set ${JUDGED_MARK}
  }
  chain dns {
    type nat hook prerouting priority dstnat - 1; policy accept;
    iifname ${own} meta l4proto { tcp, udp } th dport 53 dnat ip to ${gateway}:${dnsPort}
${more?.dns ?? ''}  }
  chain nowhere {
    type filter hook prerouting priority filter; policy accept;
    iifname ${own} meta pkttype != host goto lost
    iifname ${own} ip daddr ${WITHOUT_ROUTE} goto lost
    iifname ${own} ip daddr ${subnet} ip daddr != ${gateway} fib daddr oif missing goto lost
${more?.nowhere ?? ''}  }
  chain divert {
    type filter hook prerouting priority mangle; policy accept;
    iifname ${own} meta l4proto tcp goto divert_from_sandbox
  }
  chain divert_from_sandbox {
    tcp flags & (fin | syn | rst | ack) != syn socket transparent 1 meta mark set ${mark} accept
    fib daddr type local accept
    tcp dport { 53, 853 } accept
    iifname vmap @divert_by
  }
  chain input {
    type filter hook input priority filter - 1; policy accept;
    iifname ${own} goto from_sandbox_to_host
  }
  chain from_sandbox_to_host {
    ct state established ct direction reply ${PASS}
    meta mark ${mark} accept
    ct state related meta l4proto ${icmp} ct mark != 0 iifname vmap @reply_by
    ct state related meta l4proto ${icmp} ${PASS}
    ip daddr ${gateway} udp dport ${dnsPort} ct original proto-dst 53 update @asking { iifname ${askRate} } drop
    ip daddr ${gateway} meta l4proto { tcp, udp } th dport ${dnsPort} ct original proto-dst 53 ${PASS}
${proxyPort === undefined ? '' : `    ip daddr ${gateway} tcp dport ${proxyPort} ${PASS}\n`}    ip daddr ${subnet} goto refuse
${more?.input ?? ''}    iifname vmap @input_by
    goto refuse
  }
  chain forward {
    type filter hook forward priority filter - 1; policy accept;
    iifname ${own} goto from_sandbox
    oifname ${own} goto to_sandbox
  }
  chain to_sandbox {
    ${FOR_NOBODY}
    ct state established oifname vmap @reply_by
    ct state related meta l4proto ${icmp} oifname vmap @reply_by
    drop
  }
${formatFromHost(own)}  chain from_sandbox {
    oifname ${own} goto refuse
    ip daddr ${subnet} goto refuse
${more?.forward ?? ''}    ct state established ct direction reply ${PASS}
    ct state related meta l4proto ${icmp} iifname vmap @reply_by
    meta l4proto { tcp, udp } th dport 853 goto refuse
    iifname vmap @forward_by
    drop
  }
  chain nat {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${subnet} oifname != ${own} masquerade
${more?.nat ?? ''}  }
}
${sandboxes.map((sandbox) => formatAdd(base, sandbox)).join('')}`
}

/** Lets nothing from sandboxes through, whatever is left of the table. */
export function formatClosed({ table, interfacePrefix }: RulesNames): string {
  return `add table inet ${table}
add chain inet ${table} raw { type filter hook prerouting priority raw; policy accept; }
insert rule inet ${table} raw iifname "${interfacePrefix}*" drop
`
}

/** Adds a sandbox, or does it once more for one that is there with the same address and interface. */
export function formatAdd(base: BaseRules, sandbox: SandboxRules): string {
  const { table } = base
  const { id, address, address6, interface: name } = sandbox
  return `${formatPolicy(base, sandbox)}add element inet ${table} divert_by { "${name}" : goto ${divertChain(id)} }
add element inet ${table} forward_by { "${name}" : goto ${forwardChain(id)} }
add element inet ${table} reply_by { "${name}" : goto ${replyChain(id)} }
add element inet ${table} input_by { "${name}" : goto ${inputChain(id)} }
add element inet ${table} registered { "${name}" . ${address} }
${address6 === undefined ? '' : `add element inet ${table} registered6 { "${name}" . ${address6} }\n`}`
}

/**
 * Adds addresses that DNS has found. One that is there gets its time anew: before 6.12 the kernel keeps the old time of an element
 * that is merely added again, so it goes and comes in one transaction. That is not done for new ones, because any removal makes
 * the kernel wait for all its readers (measured: 3 ms without, 20 ms with).
 */
export function formatLearn(base: BaseRules, id: string, elements: readonly LearnedElement[]): string {
  const families = familiesOf(base)
  return families
    .map((family) => {
      const own = elements.filter(({ address }) => familyOf(families, address) === family)
      if (own.length === 0) return ''
      const set = `inet ${base.table} ${learnedSet(family, id)}`
      const there = own.filter(({ isThere }) => isThere).map(({ address }) => address)
      const again =
        there.length === 0
          ? ''
          : `add element ${set} { ${there.join(', ')} }\ndelete element ${set} { ${there.join(', ')} }\n`
      return `${again}add element ${set} { ${formatTimed(own)} }\n`
    })
    .join('')
}

/** Removes a sandbox that is there. */
export function formatRemove(
  base: BaseRules,
  { id, address, address6, interface: name }: Pick<SandboxRules, 'id' | 'address' | 'address6' | 'interface'>,
): string {
  const { table } = base
  return `delete element inet ${table} registered { "${name}" . ${address} }
${address6 === undefined ? '' : `delete element inet ${table} registered6 { "${name}" . ${address6} }\n`}delete element inet ${table} forward_by { "${name}" }
delete element inet ${table} input_by { "${name}" }
delete element inet ${table} divert_by { "${name}" }
delete element inet ${table} reply_by { "${name}" }
${chainsOf(id)
  .map((chain) => `delete chain inet ${table} ${chain}\n`)
  .join('')}${familiesOf(base)
  .map((family) => `delete set inet ${table} ${learnedSet(family, id)}\n`)
  .join('')}`
}

/** Removes the table; not an error when there is none. */
export function formatTeardown({ table }: Pick<RulesNames, 'table'>): string {
  return `add table inet ${table}\ndelete table inet ${table}\n`
}

/** The id in the name of a learned set, or undefined for another set. */
export function parseLearnedSet(name: string): string | undefined {
  return /^learned6?-(.+)$/.exec(name)?.[1]
}

/** The addresses that a listing of a set has, with the time that each has left. */
export function parseLearnedElements(elements: readonly unknown[]): LearnedElement[] {
  const found: LearnedElement[] = []
  for (const element of elements) {
    if (typeof element !== 'object' || element === null || !('elem' in element)) continue
    const { val, expires } = element.elem as { val?: unknown; expires?: unknown }
    if (typeof val === 'string' && typeof expires === 'number' && expires > 0)
      found.push({ address: val, seconds: expires })
  }
  return found
}

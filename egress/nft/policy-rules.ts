// What a policy is in the kernel: chains of a sandbox and the sets of what names have opened for it, as text. By four of them its packets
// are judged where the table (rules.ts) sends them: `divert` to the relay, `input` to the host, `forward` elsewhere, `reply` back to it.
// What `forward` and `input` let through goes by `pass`, which marks its connection for `reply` (own-connections.ts).

import { formatPorts, mergePorts, type PortRange, type RuleScope } from '../../lib/api/rule-scope.ts'
import { NAMED_PORTS } from '../policy/decide.ts'
import { type Family, familiesOf, familyOf } from './families.ts'
import { PASSED_MARK } from './guard.ts'
import { connectionMarks } from './own-connections.ts'
import type { BaseRules, LearnedElement, SandboxRules } from './rules.ts'

/** How a packet passes. */
export const PASS = `meta mark set ${PASSED_MARK} accept`
/** An address may be learned this often before the kernel itself refuses more; egress's own bound is lower. */
const LEARNED_SET_SIZE = 8192

/** Puts a policy in force, whole, with the learned addresses that it still allows. */
export function formatPolicy(
  base: BaseRules,
  {
    id,
    policy,
    learned,
    readPorts = [],
    hasUnmarked = false,
    hasOtherMarks = false,
  }: Pick<SandboxRules, 'id' | 'policy' | 'learned' | 'readPorts' | 'hasUnmarked' | 'hasOtherMarks'>,
): string {
  const { table } = base
  const [forward, input, divert, reply, pass] = chainsOf(id)
  const families = familiesOf(base)
  const lines: string[] = []
  for (const chain of chainsOf(id))
    lines.push(`add chain inet ${table} ${chain}`, `flush chain inet ${table} ${chain}`)
  for (const family of families) {
    const set = learnedSet(family, id)
    lines.push(
      `add set inet ${table} ${set} { type ${family.type}; flags timeout; size ${LEARNED_SET_SIZE}; }`,
      `flush set inet ${table} ${set}`,
    )
    const own = learned.filter(({ address }) => familyOf(families, address) === family)
    if (own.length > 0) lines.push(`add element inet ${table} ${set} { ${formatTimed(own)} }`)
  }
  const rules: string[] = []
  const rule = (chain: string, text: string) => rules.push(`add rule inet ${table} ${chain} ${text}`)
  const accept = `goto ${pass}`
  for (const layer of policy.layers)
    for (const family of families) {
      const { action, scope } = layer
      const ranges = family.rangesOf(layer)
      if (ranges.length === 0) continue
      const packets = `${family.destination} ${formatSet(ranges)}${formatScope(scope, family)}`
      if (scope.protocol === 'any' || scope.protocol === 'tcp') rule(divert, `${packets} accept`)
      rule(forward, `${packets} ${action === 'allow' ? accept : 'goto refuse'}`)
      const hosts = family.hostsOf(layer)
      if (action === 'deny') rule(input, `${packets} goto refuse`)
      // The host's own addresses are opened by a rule that names one alone, never by a range that happens to hold it.
      else if (hosts.length > 0)
        rule(input, `${family.destination} ${formatSet(hosts)}${formatScope(scope, family)} ${accept}`)
    }
  const eachFamily = (chain: string, text: (family: Family) => string) => {
    for (const family of families) rule(chain, text(family))
  }
  const stays = ({ destination, closed }: Family) => `${destination} @${closed} accept`
  eachFamily(forward, ({ destination, closed }) => `${destination} @${closed} goto refuse`)
  if (policy.policy.defaultAction === 'allow') {
    if (policy.deniesNames || readPorts.length > 0) {
      // Where names are told: a denied one must not be reached by an address that is open.
      const ports = [...NAMED_PORTS, ...readPorts].map((port) => ({ first: port, last: port }))
      const named = formatPortSet(mergePorts(ports))
      eachFamily(divert, stays)
      eachFamily(divert, ({ relay }) => `tcp dport ${named} ${relay}`)
      // QUIC tells no name to who does not take part in it; its clients go on by TCP.
      rule(forward, `meta l4proto { tcp, udp } th dport ${named} goto refuse`)
    }
    rule(forward, accept)
  } else {
    rule(forward, 'goto refuse')
    eachFamily(divert, stays)
    const ports = policy.namePorts
    const which = ports === undefined ? 'meta l4proto tcp' : `tcp dport ${formatPortSet(ports)}`
    if (ports === undefined || ports.length > 0)
      eachFamily(divert, (one) => `${one.destination} @${learnedSet(one, id)} ${which} ${one.relay}`)
  }
  rule(input, 'goto refuse')
  const marks = connectionMarks(id, rules.join())
  rule(pass, `ct mark ${marks.tcp} ${PASS}`)
  rule(pass, `ct mark ${marks.policy} ${PASS}`)
  rule(pass, `${marks.anyPolicy} ct mark set ${marks.policy} ${PASS}`)
  rule(pass, hasOtherMarks ? 'meta l4proto tcp jump begin' : 'jump begin')
  rule(pass, `meta l4proto tcp ct mark set ${marks.tcp} ${PASS}`)
  rule(pass, `ct mark set ${marks.policy} ${PASS}`)
  rule(reply, `ct mark ${marks.tcp} ${PASS}`)
  rule(reply, `ct mark ${marks.policy} ${PASS}`)
  if (hasUnmarked) rule(reply, `meta l4proto tcp ${PASS}`)
  rule(reply, 'goto not_own')
  return `${[...lines, ...rules].join('\n')}\n`
}

export const forwardChain = (id: string) => `forward-${id}`
export const inputChain = (id: string) => `input-${id}`
export const divertChain = (id: string) => `divert-${id}`
export const replyChain = (id: string) => `reply-${id}`
export const passChain = (id: string) => `pass-${id}`
/** In the order in which they can be removed: those that lead to others first. */
export const chainsOf = (id: string) =>
  [forwardChain(id), inputChain(id), divertChain(id), replyChain(id), passChain(id)] as const
export const learnedSet = ({ learned }: Family, id: string) => `${learned}-${id}`
export const formatTimed = (elements: readonly LearnedElement[]) =>
  elements.map(({ address, seconds }) => `${address} timeout ${seconds}s`).join(', ')

const formatPortSet = (ports: readonly PortRange[]) => `{ ${ports.map(formatPorts).join(', ')} }`

function formatScope({ protocol, ports }: RuleScope, { icmp }: Family): string {
  if (ports === undefined && protocol === 'any') return ''
  if (ports === undefined) return ` meta l4proto ${protocol === 'icmp' ? icmp : protocol}`
  const which = protocol === 'any' ? 'meta l4proto { tcp, udp } th' : protocol
  return ` ${which} dport ${formatPortSet(ports)}`
}

const formatSet = (ranges: readonly string[]) => `{ ${[...new Set(ranges)].join(', ')} }`

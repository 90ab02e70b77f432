// What a sandbox wanted, by names and addresses and with the ports of its connections, and the policy that allows just that.

import type { NetworkPolicy, NetworkRule, PolicyAction } from '../lib/api/network-policy.ts'

type Want = {
  verdict: PolicyAction
  /** Ports by protocol, of connections that were seen; none of a name that was only asked for. */
  ports: Map<string, Set<number>>
}
export type Wanted = Map<string, Want>

/** What of a decision is of interest here. */
type Seen = { verdict: PolicyAction; name?: string; address?: string; protocol?: string; port?: number }

export type ProposalOptions = {
  /** Also what is denied now. */
  includeDenied: boolean
  /** Only the ports of connections that were seen, where any were. */
  withPorts?: boolean
}

/** So many ports of one target are told apart; a program that uses more uses any. */
const MAX_PORTS = 32
const PROTOCOLS = ['tcp', 'udp', 'icmp'] as const

/** Notes what was wanted, as long as there is room for it. */
export function noteWanted(
  wanted: Wanted,
  { verdict, name, address, protocol, port }: Seen,
  maxTargets: number,
): void {
  const target = name ?? address
  if (target === undefined) return
  const known = wanted.get(target)
  if (!known && wanted.size >= maxTargets) return
  const want = known ?? { verdict, ports: new Map() }
  want.verdict = verdict
  if (!known) wanted.set(copyOf(target), want)
  if (protocol === undefined) return
  const ports = want.ports.get(protocol) ?? new Set()
  want.ports.set(protocol, ports)
  if (port !== undefined && ports.size <= MAX_PORTS) ports.add(port)
}

/** A text of its own: a part of another keeps all of that in memory, as a name would the whole head that it stood in. */
function copyOf(text: string): string {
  return Buffer.from(text).toString()
}

/** A policy that allows what was wanted, and nothing else. */
export function proposePolicy(
  wanted: Wanted,
  { includeDenied, withPorts = false }: ProposalOptions,
): NetworkPolicy {
  const egress = [...wanted]
    .filter(([, { verdict }]) => includeDenied || verdict === 'allow')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([target, { ports }]) => (withPorts ? rulesOf(target, ports) : [allow(target)]))
  return { defaultAction: 'deny', egress }
}

function rulesOf(target: string, seen: Want['ports']): NetworkRule[] {
  const rules = PROTOCOLS.flatMap((protocol): NetworkRule[] => {
    const ports = seen.get(protocol)
    if (!ports) return []
    if (protocol === 'icmp' || ports.size === 0 || ports.size > MAX_PORTS)
      return [{ ...allow(target), protocol }]
    return [{ ...allow(target), protocol, ports: [...ports].sort((a, b) => a - b).map(String) }]
  })
  return rules.length > 0 ? rules : [allow(target)]
}

function allow(target: string): NetworkRule {
  return { action: 'allow', target }
}

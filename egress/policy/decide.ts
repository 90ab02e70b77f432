// What a policy says about a name and about an address. Pure: DNS, nftables and the API all ask here. Names: the first rule in
// the list that matches decides, whatever its form; none, the default action does. Addresses: order does not matter, a deny beats
// every allow (contract: egress.md 1.1, 1.2).

import {
  type NetworkPolicy,
  type NetworkRule,
  type PolicyAction,
  parseName,
  parseTarget,
} from '../../lib/api/network-policy.ts'
import { closedReason, covers, mergeRanges, type Range, rangeOf } from './addresses.ts'

export type Decision = { action: PolicyAction; reason: string; rule?: string }

/** A policy made ready to be asked many times. */
export type CompiledPolicy = {
  policy: NetworkPolicy
  /** Position of the first rule for an exact name, and for everything below a name. */
  exact: ReadonlyMap<string, number>
  below: ReadonlyMap<string, number>
  allowed: readonly Range[]
  denied: readonly Range[]
  /** Addresses that an allow rule names alone, not as part of a range. */
  allowedHosts: readonly Range[]
}

/** Reads the targets of a policy that was checked before. */
export function compilePolicy(policy: NetworkPolicy): CompiledPolicy {
  const exact = new Map<string, number>()
  const below = new Map<string, number>()
  const ranges: Record<PolicyAction, Range[]> = { allow: [], deny: [] }
  for (const [index, { action, target: text }] of policy.egress.entries()) {
    const target = parseTarget(text)
    if ('problem' in target) throw new Error(`A policy was not checked: ${target.problem}`)
    if (target.kind === 'range4') ranges[action].push(rangeOf(target.first, target.prefix))
    if (target.kind !== 'name') continue
    const names = target.wildcard ? below : exact
    if (!names.has(target.name)) names.set(target.name, index)
  }
  return {
    policy,
    exact,
    below,
    allowed: mergeRanges(ranges.allow),
    denied: mergeRanges(ranges.deny),
    allowedHosts: ranges.allow.filter(({ first, last }) => first === last),
  }
}

/** Whether a sandbox may learn the addresses of a name. The name may come in any form. */
export function decideName({ policy, exact, below }: CompiledPolicy, text: string): Decision {
  const parsed = parseName(text)
  if ('problem' in parsed) return { action: 'deny', reason: `the name ${parsed.problem}` }
  const { name } = parsed
  let first = exact.get(name) ?? Number.POSITIVE_INFINITY
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
    const index = below.get(name.slice(dot + 1))
    if (index !== undefined && index < first) first = index
  }
  const rule: NetworkRule | undefined = policy.egress[first]
  if (rule) return { action: rule.action, reason: `rule ${first}`, rule: rule.target }
  return { action: policy.defaultAction, reason: 'no rule matches: default action' }
}

/**
 * Whether a sandbox may connect to an address by the address alone, or because a name of its policy led there (`learned`).
 * The packets themselves are judged by nft/rules.ts, in this same order.
 */
export function decideAddress(
  { policy, allowed, denied }: CompiledPolicy,
  address: string,
  { learned }: { learned: boolean },
): Decision {
  if (covers(denied, address)) return { action: 'deny', reason: 'a deny rule covers the address' }
  if (covers(allowed, address)) return { action: 'allow', reason: 'an allow rule covers the address' }
  const closed = closedReason(address)
  if (closed) return { action: 'deny', reason: `the address is closed (${closed}) and no rule opens it` }
  if (learned) return { action: 'allow', reason: 'the address of an allowed name' }
  return { action: policy.defaultAction, reason: 'no rule covers the address: default action' }
}

/** Whether an address may appear in an answer: closed ones only where a range of the policy opens them (DNS rebinding). */
export function mayAnswer({ allowed }: CompiledPolicy, address: string): boolean {
  return closedReason(address) === undefined || covers(allowed, address)
}

// How a policy changes: the whole of it by POST and PUT, in part by PATCH and DELETE (contract: egress.md 2.3). Pure.

import type { NetworkPolicy, NetworkRule } from '../../lib/api/network-policy.ts'

export const POLICY_MODES = ['deny_all', 'allow_all', 'enforcing'] as const
export type PolicyMode = (typeof POLICY_MODES)[number]

/** The policy's kind in one word, as the contract derives it. */
export function modeOf({ defaultAction, egress }: NetworkPolicy): PolicyMode {
  if (egress.length > 0) return 'enforcing'
  return defaultAction === 'allow' ? 'allow_all' : 'deny_all'
}

/** The new rules first, the first of each target winning; then the old ones whose target is not among them. */
export function patchPolicy(policy: NetworkPolicy, rules: readonly NetworkRule[]): NetworkPolicy {
  const mentioned = new Set<string>()
  const egress: NetworkRule[] = []
  for (const rule of rules) {
    if (mentioned.has(keyOf(rule.target))) continue
    mentioned.add(keyOf(rule.target))
    egress.push(rule)
  }
  egress.push(...policy.egress.filter((rule) => !mentioned.has(keyOf(rule.target))))
  return { ...policy, egress }
}

/** Without the rules of these targets, or undefined when there is none of them. Targets are compared as text. */
export function removeTargets(policy: NetworkPolicy, targets: readonly string[]): NetworkPolicy | undefined {
  const gone = new Set(targets.map(keyOf))
  const egress = policy.egress.filter((rule) => !gone.has(keyOf(rule.target)))
  return egress.length === policy.egress.length ? undefined : { ...policy, egress }
}

function keyOf(target: string): string {
  return target.trim().toLowerCase()
}

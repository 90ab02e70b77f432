// How a policy changes: the whole of it by POST and PUT, in part by PATCH and DELETE (contract: egress.md 2.3). Pure.

import type { NetworkPolicy, NetworkRule } from '../../lib/api/network-policy.ts'
import { formatScope, scopeOf } from '../../lib/api/rule-scope.ts'

export const POLICY_MODES = ['deny_all', 'allow_all', 'enforcing'] as const
export type PolicyMode = (typeof POLICY_MODES)[number]

/** The policy's kind in one word, as the contract derives it. */
export function modeOf({ defaultAction, egress }: NetworkPolicy): PolicyMode {
  if (egress.length > 0) return 'enforcing'
  return defaultAction === 'allow' ? 'allow_all' : 'deny_all'
}

/**
 * The new rules first; then the old ones whose target is not among them. Of the new ones of a target the first wins, but that one
 * which is about other ports says something else.
 */
export function patchPolicy(policy: NetworkPolicy, rules: readonly NetworkRule[]): NetworkPolicy {
  const mentioned = new Set<string>()
  const written = new Set<string>()
  const egress: NetworkRule[] = []
  for (const rule of rules) {
    const key = keyOf(rule.target)
    const exact = `${key} ${formatScopeKey(rule)}`
    if (written.has(exact)) continue
    written.add(exact)
    mentioned.add(key)
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

function formatScopeKey(rule: NetworkRule): string {
  const scope = scopeOf(rule)
  return `${scope.protocol} ${formatScope(scope)}`
}

function keyOf(target: string): string {
  return target.trim().toLowerCase()
}

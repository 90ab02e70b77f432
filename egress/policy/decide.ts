// What a policy says about a name and about an address. Pure: DNS, nftables and the API all ask here. Names: the first rule in
// the list that matches decides, whatever its form; none, the default action does. Addresses: order does not matter, a deny beats
// every allow (contract: egress.md 1.1, 1.2). What the operator always denies or allows comes before both.

import {
  type NetworkPolicy,
  type NetworkRule,
  type PolicyAction,
  parseName,
  parseTarget,
  type Target,
} from '../../lib/api/network-policy.ts'
import { closedReason, covers, mergeRanges, type Range, rangeOf } from './addresses.ts'

export type Decision = { action: PolicyAction; reason: string; rule?: string }

/** What the operator denies and allows whatever a policy says: targets, as in rules. Denied beats allowed (contract: egress.md 1.3). */
export type Floor = { deny: readonly string[]; allow: readonly string[] }
export const NO_FLOOR: Floor = { deny: [], allow: [] }

/** Addresses by what is done with them. The first layer that covers an address decides. */
export type Layer = {
  action: PolicyAction
  reason: string
  ranges: readonly Range[]
  /** Those of the ranges that a rule names as one address. */
  hosts: readonly Range[]
}

type NamedRule = { action: PolicyAction; target: string; reason: string }

/** A policy made ready to be asked many times, with the operator's floor below it. */
export type CompiledPolicy = {
  policy: NetworkPolicy
  /** In the order in which they are asked. */
  rules: readonly NamedRule[]
  /** Position of the first rule for an exact name, and for everything below a name. */
  exact: ReadonlyMap<string, number>
  below: ReadonlyMap<string, number>
  layers: readonly Layer[]
}

/** Reads the targets of a policy and of a floor that were checked before. */
export function compilePolicy(policy: NetworkPolicy, floor: Floor = NO_FLOOR): CompiledPolicy {
  const always = (action: PolicyAction, reason: string) => (target: string) => ({ action, target, reason })
  const denied = floor.deny.map(always('deny', 'the operator always denies it'))
  const allowed = floor.allow.map(always('allow', 'the operator always allows it'))
  const own = policy.egress.map((rule, index) => ({ ...rule, reason: `rule ${index}` }))
  const rules = [...denied, ...allowed, ...own]
  const exact = new Map<string, number>()
  const below = new Map<string, number>()
  for (const [index, { target: text }] of rules.entries()) {
    const target = readTarget(text)
    if (target.kind !== 'name') continue
    const names = target.wildcard ? below : exact
    if (!names.has(target.name)) names.set(target.name, index)
  }
  const layers = [
    layerOf(denied, 'deny', 'the operator always denies the address'),
    layerOf(allowed, 'allow', 'the operator always allows the address'),
    layerOf(own, 'deny', 'a deny rule covers the address'),
    layerOf(own, 'allow', 'an allow rule covers the address'),
  ]
  return { policy, rules, exact, below, layers: layers.filter(({ ranges }) => ranges.length > 0) }
}

/** Whether a sandbox may learn the addresses of a name. The name may come in any form. */
export function decideName({ policy, rules, exact, below }: CompiledPolicy, text: string): Decision {
  const parsed = parseName(text)
  if ('problem' in parsed) return { action: 'deny', reason: `the name ${parsed.problem}` }
  const { name } = parsed
  let first = exact.get(name) ?? Number.POSITIVE_INFINITY
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
    const index = below.get(name.slice(dot + 1))
    if (index !== undefined && index < first) first = index
  }
  const rule = rules[first]
  if (rule) return { action: rule.action, reason: rule.reason, rule: rule.target }
  return { action: policy.defaultAction, reason: 'no rule matches: default action' }
}

/**
 * Whether a sandbox may connect to an address by the address alone, or because a name of its policy led there (`learned`).
 * The packets themselves are judged by nft/rules.ts, in this same order.
 */
export function decideAddress(
  { policy, layers }: CompiledPolicy,
  address: string,
  { learned }: { learned: boolean },
): Decision {
  const layer = layers.find(({ ranges }) => covers(ranges, address))
  if (layer) return { action: layer.action, reason: layer.reason }
  const closed = closedReason(address)
  if (closed) return { action: 'deny', reason: `the address is closed (${closed}) and no rule opens it` }
  if (learned) return { action: 'allow', reason: 'the address of an allowed name' }
  return { action: policy.defaultAction, reason: 'no rule covers the address: default action' }
}

/** Whether an address may appear in an answer: closed ones only where a range opens them (DNS rebinding). */
export function mayAnswer({ layers }: CompiledPolicy, address: string): boolean {
  if (closedReason(address) === undefined) return true
  return layers.some(({ action, ranges }) => action === 'allow' && covers(ranges, address))
}

function layerOf(rules: readonly NetworkRule[], action: PolicyAction, reason: string): Layer {
  const all = rules.flatMap((rule) => {
    const target = rule.action === action ? readTarget(rule.target) : undefined
    return target?.kind === 'range4' ? [rangeOf(target.first, target.prefix)] : []
  })
  return { action, reason, ranges: mergeRanges(all), hosts: all.filter(({ first, last }) => first === last) }
}

function readTarget(text: string): Target {
  const target = parseTarget(text)
  if ('problem' in target) throw new Error(`A policy was not checked: ${target.problem}`)
  return target
}

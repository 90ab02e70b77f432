// A policy made ready to be asked many times: its targets read once, its sets replaced by what is in them, its addresses sorted into
// layers, with what the operator always denies or allows before all of it. Pure.

import { ends6 } from '../../lib/address6.ts'
import {
  type NetworkPolicy,
  type NetworkRule,
  type PolicyAction,
  parseTarget,
  type Target,
} from '../../lib/api/network-policy.ts'
import {
  EVERYTHING,
  formatScope,
  mergePorts,
  type PortRange,
  type RuleScope,
  scopeOf,
} from '../../lib/api/rule-scope.ts'
import { type RuleSets, ruleSetsOf } from '../../lib/rule-sets.ts'
import { mergeRanges, type Range, rangeOf } from './addresses.ts'
import { mergeRanges6, openedBy6, type Range6 } from './addresses6.ts'

/** What the operator denies and allows whatever a policy says: targets, as in rules. Denied beats allowed (contract: egress.md 1.3). */
export type Floor = { deny: readonly string[]; allow: readonly string[] }
export const NO_FLOOR: Floor = { deny: [], allow: [] }

/** Addresses by what is done with them. The first layer that covers an address, and is about its protocol and port, decides. */
export type Layer = {
  action: PolicyAction
  reason: string
  scope: RuleScope
  ranges: readonly Range[]
  /** Those of the ranges that a rule names as one address. */
  hosts: readonly Range[]
  /** The same of IPv6: what is denied, or what a rule may open of it (addresses6.ts). */
  ranges6: readonly Range6[]
  hosts6: readonly Range6[]
}

export type NamedRule = { action: PolicyAction; target: string; reason: string; scope: RuleScope }

export type CompiledPolicy = {
  policy: NetworkPolicy
  /** In the order in which they are asked. */
  rules: readonly NamedRule[]
  /** Positions of the rules for an exact name, and for everything below a name, the first one first. */
  exact: ReadonlyMap<string, readonly number[]>
  below: ReadonlyMap<string, readonly number[]>
  /** Of the first rule that denies every name. */
  denyAll: number | undefined
  layers: readonly Layer[]
  /** The TCP ports that rules open by names; undefined for every port. */
  namePorts: readonly PortRange[] | undefined
  /** Whether a name is denied. */
  deniesNames: boolean
  /** Sets that a rule names and that are not there. */
  missingSets: readonly string[]
}

type OwnRule = NamedRule & { targets: readonly Target[] }
type ClassOfLayers = { action: PolicyAction; reason: string; rules: readonly OwnRule[] }

/** One text for all policies, as there are many of them. */
const RULE_REASONS: readonly string[] = Array.from({ length: 256 }, (_, index) => `rule ${index}`)

/** Reads the targets of a policy and of a floor that were checked before. */
export function compilePolicy(
  policy: NetworkPolicy,
  floor: Floor = NO_FLOOR,
  sets: RuleSets = ruleSetsOf(),
): CompiledPolicy {
  const always = (action: PolicyAction, reason: string) => (target: string) => ({
    action,
    target,
    reason,
    scope: EVERYTHING,
    targets: targetsOf({ action, target }, sets),
  })
  const denied = floor.deny.map(always('deny', 'the operator always denies it'))
  const allowed = floor.allow.map(always('allow', 'the operator always allows it'))
  const own = policy.egress.map((rule, index) => ({
    ...rule,
    reason: RULE_REASONS[index] ?? `rule ${index}`,
    scope: scopeOf(rule),
    targets: targetsOf(rule, sets),
  }))
  const rules: OwnRule[] = [...denied, ...allowed, ...own]
  const exact = new Map<string, number[]>()
  const below = new Map<string, number[]>()
  let denyAll: number | undefined
  for (const [index, { targets }] of rules.entries())
    for (const target of targets) {
      if (target.kind === 'set') denyAll ??= index
      if (target.kind !== 'name') continue
      const names = target.wildcard ? below : exact
      const positions = names.get(target.name)
      if (!positions) names.set(target.name, [index])
      else if (positions.at(-1) !== index) positions.push(index)
    }
  const naming = rules.filter(({ targets }) => targets.some(({ kind }) => kind === 'name'))
  const opening = naming.filter(({ action }) => action === 'allow').map(({ scope }) => scope.ports)
  return {
    policy,
    // Names open nothing but TCP, so of their rules only the ports matter.
    rules: rules.map(({ action, target, reason, scope }) => ({
      action,
      target,
      reason,
      scope: scope.ports === undefined ? EVERYTHING : { ...scope, protocol: 'any' },
    })),
    exact,
    below,
    denyAll,
    layers: [
      ...layersOf({ action: 'deny', reason: 'the operator always denies the address', rules: denied }),
      ...layersOf({ action: 'allow', reason: 'the operator always allows the address', rules: allowed }),
      ...layersOf({ action: 'deny', reason: 'a deny rule covers the address', rules: own }),
      ...layersOf({ action: 'allow', reason: 'an allow rule covers the address', rules: own }),
    ],
    namePorts: opening.includes(undefined) ? undefined : mergePorts(opening.flatMap((ports) => ports ?? [])),
    deniesNames: denyAll !== undefined || naming.some(({ action }) => action === 'deny'),
    missingSets: rules.flatMap(({ target }) => {
      const parsed = readTarget(target)
      return parsed.kind === 'set' && !sets.has(parsed.set) ? [parsed.set] : []
    }),
  }
}

/** Whether what a policy says depends on the sets that there are. */
export function namesSets({ egress }: NetworkPolicy): boolean {
  return egress.some(({ target }) => readTarget(target).kind === 'set')
}

/** One layer for each scope: the kernel compares addresses and ports of a rule apart. */
function layersOf({ action, reason, rules }: ClassOfLayers): Layer[] {
  const byScope = new Map<string, { scope: RuleScope; ranges: Range[]; ranges6: Range6[] }>()
  for (const { action: own, scope, targets } of rules) {
    if (own !== action) continue
    const ranges = targets.flatMap((target) => {
      if (target.kind === 'range4') return [rangeOf(target.first, target.prefix)]
      return target.kind === 'set' ? [rangeOf(0, 0)] : []
    })
    const ranges6 = targets.flatMap((target) => {
      if (target.kind === 'range6') return [ends6(target.first, target.prefix)]
      return target.kind === 'set' ? [ends6(0n, 0)] : []
    })
    if (ranges.length === 0 && ranges6.length === 0) continue
    const key = `${scope.protocol} ${formatScope(scope)}`
    const known = byScope.get(key) ?? { scope, ranges: [], ranges6: [] }
    byScope.set(key, known)
    known.ranges.push(...ranges)
    known.ranges6.push(...(action === 'deny' ? ranges6 : openedBy6(ranges6)))
  }
  return [...byScope.values()].map(({ scope, ranges, ranges6 }) => ({
    action,
    reason: scope === EVERYTHING || formatScope(scope) === '' ? reason : `${reason} (${formatScope(scope)})`,
    scope,
    ranges: mergeRanges(ranges),
    hosts: ranges.filter(({ first, last }) => first === last),
    ranges6: mergeRanges6(ranges6),
    hosts6: mergeRanges6(ranges6).filter(({ first, last }) => first === last),
  }))
}

/**
 * What a rule is about. Of a set that is not there nobody knows what was in it: an allow rule for it opens nothing, and a deny rule
 * for it, which stays in the list as a set, denies everything at its place.
 */
function targetsOf({ action, target }: Pick<NetworkRule, 'action' | 'target'>, sets: RuleSets): Target[] {
  const parsed = readTarget(target)
  if (parsed.kind !== 'set') return [parsed]
  const members = sets.get(parsed.set)
  if (!members) return action === 'deny' ? [parsed] : []
  return members.map(readTarget)
}

function readTarget(text: string): Target {
  const target = parseTarget(text)
  if ('problem' in target) throw new Error(`A policy was not checked: ${target.problem}`)
  return target
}

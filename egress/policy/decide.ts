// What a policy says about a name and about an address. Pure: DNS, nftables and the API all ask here. Names: the first rule in
// the list that matches decides, whatever its form; none, the default action does. Addresses: order does not matter, a deny beats
// every allow (contract: egress.md 1.1, 1.2). What the operator always denies or allows comes before both.
//
// A rule with ports is about connections to them. Asked without an endpoint, as by DNS, a name or an address is allowed when some
// rule allows it for some port, and a rule that denies it for some ports only is passed over: the connection itself is asked about.

import { isIPv6 } from 'node:net'
import { type PolicyAction, parseName } from '../../lib/api/network-policy.ts'
import { type Endpoint, isWithin, type RuleScope } from '../../lib/api/rule-scope.ts'
import { closedReason, covers } from './addresses.ts'
import { closedReason6, covers6, translatedOf } from './addresses6.ts'
import type { CompiledPolicy, Layer } from './compile.ts'

/** Where programs say which name they want. */
export const NAMED_PORTS: readonly number[] = [80, 443]

export type Decision = { action: PolicyAction; reason: string; rule?: string }

/** Whether a sandbox may learn the addresses of a name, or connect to an endpoint by it. The name may come in any form. */
export function decideName(compiled: CompiledPolicy, text: string, endpoint?: Endpoint): Decision {
  const { policy, rules, exact, below, denyAll } = compiled
  const parsed = parseName(text)
  if ('problem' in parsed) return { action: 'deny', reason: `the name ${parsed.problem}` }
  const { name } = parsed
  let first = denyAll ?? Number.POSITIVE_INFINITY
  const consider = (positions: readonly number[] = []) => {
    for (const index of positions) {
      if (index >= first) return
      const rule = rules[index]
      if (rule && isAbout(rule, endpoint)) first = index
    }
  }
  consider(exact.get(name))
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1))
    consider(below.get(name.slice(dot + 1)))
  const rule = rules[first]
  if (rule) return { action: rule.action, reason: rule.reason, rule: rule.target }
  return { action: policy.defaultAction, reason: 'no rule matches: default action' }
}

/**
 * Whether what is decided of a name closes those that are aliases for it, too. Where a name leads is its owner's to say, so no rule need
 * allow it; what a rule denies stays denied.
 */
export function isAliasDenied({ action, rule }: Decision): boolean {
  return action === 'deny' && rule !== undefined
}

/**
 * Whether a sandbox may connect to an address by the address alone, or because a name of its policy led there (`learned`).
 * The packets themselves are judged by nft/policy-rules.ts, in this same order.
 */
export function decideAddress(
  { policy, layers }: CompiledPolicy,
  address: string,
  { learned, endpoint }: { learned: boolean; endpoint?: Endpoint },
): Decision {
  const layer = layers.find((each) => isAbout(each, endpoint) && coversAny(each, address))
  if (layer) return { action: layer.action, reason: layer.reason }
  const closed = whyClosed(address)
  if (closed) return { action: 'deny', reason: `the address is closed (${closed}) and no rule opens it` }
  if (learned) return { action: 'allow', reason: 'the address of an allowed name' }
  return { action: policy.defaultAction, reason: 'no rule covers the address: default action' }
}

/**
 * Whether a connection to an open address must say for which name it is, as a denied one may be there, or one that a secret is for. Not
 * where a rule is about the address: what is spoken there is nobody's business. `readPorts`: where requests of the sandbox are read.
 */
export function mustBeNamed(
  { deniesNames, layers }: CompiledPolicy,
  { address, port, readPorts }: { address: string; port: number; readPorts: readonly number[] },
): boolean {
  if (!deniesNames && readPorts.length === 0) return false
  if (![...NAMED_PORTS, ...readPorts].includes(port)) return false
  return !layers.some(
    (layer) => isWithin(layer.scope, { protocol: 'tcp', port }) && coversAny(layer, address),
  )
}

/** Where sandboxes have no IPv6, whatever a policy says of it. */
export function decideWithout6(address: string): Decision {
  const what = closedReason6(address)
  return { action: 'deny', reason: `sandboxes have no IPv6${what === undefined ? '' : ` (${what})`}` }
}

/** Why an address of either kind is closed by default, or undefined when it is a public one. */
export function whyClosed(address: string): string | undefined {
  return isIPv6(address) ? closedReason6(address) : closedReason(address)
}

/** Whether an address may appear in an answer: closed ones only where a range opens them (DNS rebinding). */
export function mayAnswer({ layers }: CompiledPolicy, address: string): boolean {
  if (whyClosed(address) === undefined) return true
  return layers.some((layer) => layer.action === 'allow' && coversAny(layer, address))
}

/** Whether a layer is about the address, or about the one that a translator makes of it. */
function coversAny({ ranges, ranges6 }: Pick<Layer, 'ranges' | 'ranges6'>, address: string): boolean {
  if (!isIPv6(address)) return covers(ranges, address)
  if (covers6(ranges6, address)) return true
  const translated = translatedOf(address)
  return translated !== undefined && covers(ranges, translated.inside)
}

function isAbout(
  { action, scope }: { action: PolicyAction; scope: RuleScope },
  endpoint?: Endpoint,
): boolean {
  if (endpoint) return isWithin(scope, endpoint)
  return action === 'allow' || (scope.protocol === 'any' && scope.ports === undefined)
}

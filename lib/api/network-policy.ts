// A sandbox's egress policy as it stands on the wire (contract: egress.md 1, lifecycle.md networkPolicy), and the one reading
// of it that control (at create) and egress (afterwards) share. A target that could never match is refused: an inert deny rule
// would be a hole, an inert allow rule a riddle.

import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII } from 'node:url'
import ipaddr from 'ipaddr.js'
import { z } from 'zod'
import { ends6, parseAddress6 } from '../address6.ts'
import { isRecord } from '../is-record.ts'
import { checkScope, RULE_PROTOCOLS } from './rule-scope.ts'

export const POLICY_ACTIONS = ['allow', 'deny'] as const
export type PolicyAction = (typeof POLICY_ACTIONS)[number]

/** At most this many rules in one policy; more is refused with 413 (contract: egress.md). */
export const MAX_POLICY_RULES = 4096
const MAX_TARGET_LENGTH = 512
/** A set has many targets, so a policy that named many of them could grow past all bounds. */
const MAX_SET_RULES = 64
const SET_PREFIX = 'set:'
export const SET_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

const networkRuleSchema = z.object({
  action: z.enum(POLICY_ACTIONS),
  /** A name, `*.name`, an IP address, a CIDR range, or `set:name`. */
  target: z.string().min(1).max(MAX_TARGET_LENGTH),
  /** Additions to the contract; a rule without them is about every protocol and port. */
  protocol: z.enum(RULE_PROTOCOLS).optional(),
  ports: z.array(z.union([z.string(), z.number()])).optional(),
})
export type NetworkRule = z.infer<typeof networkRuleSchema>

const networkPolicySchema = z.object({
  defaultAction: z.enum(POLICY_ACTIONS).default('deny'),
  egress: z.array(networkRuleSchema).default([]),
})
export type NetworkPolicy = z.infer<typeof networkPolicySchema>

/** What a target means: names in their canonical form, addresses as a masked range. */
export type Target =
  | { kind: 'name'; name: string; wildcard: boolean }
  | { kind: 'range4'; first: number; prefix: number }
  /** Where sandboxes have no IPv6, such a rule is kept and shown and decides nothing. */
  | { kind: 'range6'; first: bigint; prefix: number }
  /** What the operator, or the product, has listed under a name. */
  | { kind: 'set'; set: string }

const ALLOWED_TARGETS = 'a name, "*.name", an IP address, a CIDR range or "set:name"'

/** Where a policy is wrong, as a path such as `egress[3].target`, and why. `tooMany` marks the one problem that is a 413. */
export type PolicyProblem = { field: string; message: string; tooMany?: true }

/** The names of the sets that there are. Without them, any name is taken; a rule for a set that is not there opens nothing. */
export type KnownSets = { has(name: string): boolean; keys(): Iterable<string> }

/** A policy with its actions in canonical form and its targets as they were written, or the first problem in it. */
export function checkNetworkPolicy(
  value: unknown,
  sets?: KnownSets,
): { policy: NetworkPolicy } | PolicyProblem {
  // The contract reads null as it reads {}: default deny, no rules (egress.md 1).
  if (value === null || value === undefined) return { policy: { defaultAction: 'deny', egress: [] } }
  if (!isRecord(value))
    return {
      field: '',
      message: `must be an object with "defaultAction" and "egress", but it is ${show(value)}`,
    }
  const defaultAction = readAction(value.defaultAction)
  if (!defaultAction)
    return {
      field: 'defaultAction',
      message: `must be "allow" or "deny", but it is ${show(value.defaultAction)}`,
    }
  const rules = checkNetworkRules(value.egress ?? [], 'egress', sets)
  return 'rules' in rules ? { policy: { defaultAction, egress: rules.rules } } : rules
}

/** A list of rules, checked as in a policy; `field` is how the caller knows the list. */
export function checkNetworkRules(
  value: unknown,
  field = '',
  sets?: KnownSets,
): { rules: NetworkRule[] } | PolicyProblem {
  if (!Array.isArray(value)) return { field, message: `must be a list of rules, but it is ${show(value)}` }
  if (value.length > MAX_POLICY_RULES) return tooManyRules(value.length, field)
  const rules: NetworkRule[] = []
  let setRules = 0
  for (const [index, rule] of value.entries()) {
    const at = `${field}[${index}]`
    if (!isRecord(rule))
      return { field: at, message: `must be an object with "action" and "target", but it is ${show(rule)}` }
    const action = readAction(rule.action)
    if (!action)
      return { field: `${at}.action`, message: `must be "allow" or "deny", but it is ${show(rule.action)}` }
    if (typeof rule.target !== 'string')
      return {
        field: `${at}.target`,
        message: `must be ${ALLOWED_TARGETS}, but it is ${show(rule.target)}`,
      }
    const target = rule.target.trim()
    const parsed = parseTarget(target)
    if ('problem' in parsed) return { field: `${at}.target`, message: parsed.problem }
    if (parsed.kind === 'set' && ++setRules > MAX_SET_RULES)
      return { field, message: `must have at most ${MAX_SET_RULES} rules for sets` }
    if (parsed.kind === 'set' && sets && !sets.has(parsed.set))
      return {
        field: `${at}.target`,
        message: `must name a set that there is (${[...sets.keys()].join(', ')}), but it is ${show(target)}`,
      }
    const scope = checkScope(rule, { isName: parsed.kind === 'name' || parsed.kind === 'set', show })
    if ('message' in scope) return { field: `${at}.${scope.field}`, message: scope.message }
    rules.push({ action, target, ...scope })
  }
  return { rules }
}

/** The problem of a policy that has grown past the limit. */
export function tooManyRules(found: number, field = 'egress'): PolicyProblem {
  return {
    field,
    message: `must have at most ${MAX_POLICY_RULES} rules, but it has ${found}`,
    tooMany: true,
  }
}

/** One line for a person: field, what was found, what is allowed. */
export function formatPolicyProblem({ field, message }: PolicyProblem): string {
  return `${field === '' ? 'the policy' : field} ${message}`
}

/** Reads a target, or says why it could never match. */
export function parseTarget(text: string): Target | { problem: string } {
  const target = text.trim()
  const bad = (why: string) => ({
    problem: `must be ${ALLOWED_TARGETS}, but ${show(target)} ${why}`,
  })
  if (target === '') return bad('is empty')
  if (target.length > MAX_TARGET_LENGTH) return bad(`is longer than ${MAX_TARGET_LENGTH} characters`)
  if (target.toLowerCase().startsWith(SET_PREFIX)) {
    const set = target.slice(SET_PREFIX.length).toLowerCase()
    return SET_NAME.test(set) ? { kind: 'set', set } : bad('has no name of a set after "set:"')
  }
  const slash = target.indexOf('/')
  const address = slash < 0 ? target : target.slice(0, slash)
  const length = slash < 0 ? undefined : target.slice(slash + 1)
  if (isIPv4(address)) {
    const prefix = length === undefined ? 32 : readPrefix(length, 32)
    return prefix === undefined ? bad('has a prefix length outside of 0 to 32') : range4(address, prefix)
  }
  if (isIPv6(address) && !address.includes('%')) {
    const prefix = length === undefined ? 128 : readPrefix(length, 128)
    if (prefix === undefined) return bad('has a prefix length outside of 0 to 128')
    const parsed = ipaddr.IPv6.parse(address)
    // ::ffff:10.0.0.1 means the IPv4 address in it; as an IPv6 range it would never match anything.
    if (parsed.isIPv4MappedAddress() && prefix >= 96)
      return range4(parsed.toIPv4Address().toString(), prefix - 96)
    return { kind: 'range6', first: ends6(parseAddress6(address), prefix).first, prefix }
  }
  if (slash >= 0) return bad('is not a CIDR range: before the "/" there is no IP address')
  const wildcard = target.startsWith('*.')
  const name = parseName(wildcard ? target.slice(2) : target)
  if ('problem' in name) return bad(name.problem)
  return { kind: 'name', name: name.name, wildcard }
}

/** A host name in canonical form: lower case, punycode, no trailing dot. */
export function parseName(text: string): { name: string } | { problem: string } {
  const bare = text.endsWith('.') ? text.slice(0, -1) : text
  const isAscii = /^[\x00-\x7f]*$/.test(bare)
  const name = isAscii ? bare.toLowerCase() : domainToASCII(bare)
  if (name === '') return { problem: 'is not a host name' }
  if (name.includes('*')) return { problem: 'has a "*" that is not a whole first label followed by a name' }
  if (name.length > 253) return { problem: 'is longer than the 253 characters of a host name' }
  for (const label of name.split('.'))
    if (!/^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))
      return { problem: `is not a host name: the label ${show(label)} is not allowed` }
  // A last label of digits makes it a malformed address, never a name (RFC 3696 2).
  if (/(^|\.)([0-9]+|0x[0-9a-f]*)$/.test(name))
    return { problem: 'is neither a complete IPv4 address nor a host name' }
  return { name }
}

/** An IPv4 address as a number from 0 to 2^32 - 1. */
export function parseAddress4(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}

/** The text of an address that is given as a number. */
export function formatAddress4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')
}

function range4(address: string, prefix: number): Target {
  const size = 2 ** (32 - prefix)
  return { kind: 'range4', first: Math.floor(parseAddress4(address) / size) * size, prefix }
}

function readPrefix(text: string, max: number): number | undefined {
  return /^\d{1,3}$/.test(text) && Number(text) <= max ? Number(text) : undefined
}

// An absent or empty action is "deny" in a rule and as the default alike (contract: egress.md 1).
function readAction(value: unknown): PolicyAction | undefined {
  if (value === undefined || value === null) return 'deny'
  if (typeof value !== 'string') return undefined
  const action = value.trim().toLowerCase()
  if (action === '') return 'deny'
  return POLICY_ACTIONS.find((known) => known === action)
}

function show(value: unknown): string {
  if (value === undefined) return 'missing'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  const text = JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 77)}…"` : text
}

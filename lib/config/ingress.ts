// How sandboxes are reached and by whom: the shape of their addresses, the keys that sign them, and what wakes one that is paused
// (contract: lifecycle.md 4.2, 6.2, gateway.md 1, v1.1.md 7.1).

import { isKeyId, type SigningKeys } from '../signature.ts'
import type { WakeMode } from '../wake-mode.ts'
import type { Settings } from './changes.ts'
import { type Check, isTable, type Report, show } from './checks.ts'
import { readTable } from './read-table.ts'

export type RouteMode = 'wildcard' | 'header' | 'uri'

export type IngressConfig = {
  /** The domain below which sandboxes have names. */
  domain: string
  /** Present when the configuration says how endpoints are written. */
  gateway?: { address: string; route: RouteMode }
  /** Present when endpoints can be signed. */
  secureAccess?: { activeKey: string; keys: SigningKeys }
  wake: WakeMode
  wakeTimeoutMs: number
}

type Key = { id: string; secret: Uint8Array }

/** Base64 with or without its padding: the contract's own programs differ in which they take. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/

const keyId: Check = {
  allowed: 'one lower-case letter or digit',
  read: (v) => (typeof v === 'string' && isKeyId(v) ? v : undefined),
}
const keySecret: Check = {
  allowed: 'base64 of one byte at least',
  read: (v) => (typeof v === 'string' && v !== '' && BASE64.test(v) ? Buffer.from(v, 'base64') : undefined),
  isSecret: true,
}

export const activeKey = keyId

/** In the file a list of tables, in the environment `a=BASE64,b=BASE64`. */
export const signingKeys: Check = {
  allowed:
    'a list of tables, each written as [[ingress.secure_access.keys]] with key_id and key, or a=BASE64,b=BASE64',
  isSecret: true,
  read(value, report) {
    const tables = typeof value === 'string' ? tablesOf(value) : value
    if (!Array.isArray(tables) || !tables.every(isTable)) return undefined
    const keys = tables.map((table, at) => readKey(table, at, report))
    const seen = new Set<string>()
    for (const [at, { id }] of keys.entries()) {
      if (seen.has(id)) report([at, 'key_id'], `must be one that no other key has, but it is ${show(id)}`)
      seen.add(id)
    }
    return keys
  },
}

export function ingressOf(settings: Settings): IngressConfig {
  const get = <T>(name: string) => settings.get(name) as T
  const address = get<string | undefined>('ingress.gateway.address')
  const route = get<RouteMode | undefined>('ingress.gateway.route.mode')
  const hasGateway = get<string>('ingress.mode') === 'gateway' && address !== undefined && route !== undefined
  const active = get<string | undefined>('ingress.secure_access.active_key')
  const keys = get<Key[]>('ingress.secure_access.keys')
  const domain = get<string>('ingress.domain')
  return {
    // A wildcard address says what the domain is, unless another one is said in so many words.
    domain: (hasGateway && route === 'wildcard' && domain === 'localhost'
      ? domainOf(address)
      : domain
    ).toLowerCase(),
    ...(hasGateway && { gateway: { address, route } }),
    ...(active !== undefined &&
      keys.length > 0 && {
        secureAccess: { activeKey: active, keys: new Map(keys.map(({ id, secret }) => [id, secret])) },
      }),
    wake: get('ingress.wake_on_request'),
    wakeTimeoutMs: get<number>('ingress.wake_timeout_seconds') * 1000,
  }
}

/** What is right by itself and wrong beside something else. `places` has where each given setting stands. */
export function findIngressProblems(settings: Settings, places: ReadonlyMap<string, string>): string[] {
  const get = <T>(name: string) => settings.get(name) as T | undefined
  const where = (name: string) => places.get(name) ?? 'Configuration'
  const problems: string[] = []
  const active = get<string>('ingress.secure_access.active_key')
  const keys = get<Key[]>('ingress.secure_access.keys') ?? []
  const names = ['ingress.secure_access.active_key', 'ingress.secure_access.keys']
  if ((active === undefined) !== (keys.length === 0)) {
    const [there = '', missing = ''] = active === undefined ? names.toReversed() : names
    problems.push(`${where(there)}: "${there}" needs ${missing} beside it, and there is none`)
  } else if (active !== undefined && !keys.some(({ id }) => id === active))
    problems.push(
      `${where('ingress.secure_access.active_key')}: "ingress.secure_access.active_key" must be the key_id of one of the keys (${keys.map(({ id }) => id).join(', ')}), but it is ${show(active)}`,
    )
  const address = get<string>('ingress.gateway.address')
  const route = get<RouteMode>('ingress.gateway.route.mode')
  if (get('ingress.mode') === 'gateway')
    for (const [name, value] of [
      ['ingress.gateway.address', address],
      ['ingress.gateway.route.mode', route],
    ])
      if (value === undefined)
        problems.push(
          `${where('ingress.mode')}: "ingress.mode" = "gateway" needs ${name} beside it, and there is none`,
        )
  if (address !== undefined && route !== undefined && !isAddressFor(address, route))
    problems.push(
      `${where('ingress.gateway.address')}: "ingress.gateway.address" must be ${ADDRESSES[route]} for the route mode "${route}", but it is ${show(address)}`,
    )
  return problems
}

const ADDRESSES: Record<RouteMode, string> = {
  wildcard: '"*." and a domain, with or without a port, such as "*.sandboxes.example"',
  header: 'a host with or without a port, such as "gateway.example:8080"',
  uri: 'a host with or without a port and a path, such as "gateway.example/sandboxes"',
}

function isAddressFor(address: string, route: RouteMode): boolean {
  const host = String.raw`(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?`
  const patterns: Record<RouteMode, string> = {
    wildcard: String.raw`\*\.${host}`,
    header: host,
    uri: String.raw`${host}(?:/[\w.~%/-]*)?`,
  }
  return new RegExp(`^${patterns[route]}$`).test(address)
}

function domainOf(address: string): string {
  return address.replace(/^\*\./, '').replace(/:\d+$/, '')
}

function tablesOf(text: string): Record<string, unknown>[] {
  return text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const at = part.indexOf('=')
      return at < 0
        ? { key_id: part.trim() }
        : { key_id: part.slice(0, at).trim(), key: part.slice(at + 1).trim() }
    })
}

function readKey(table: Record<string, unknown>, at: number, report: Report): Key {
  const fields = readTable(table, [at], { key_id: keyId, key: keySecret }, report)
  for (const field of ['key_id', 'key'])
    if (!Object.hasOwn(table, field)) report([at], `needs "${field}", and there is none`)
  return {
    id: (fields.key_id as string | undefined) ?? '',
    secret: (fields.key as Uint8Array | undefined) ?? Buffer.alloc(0),
  }
}

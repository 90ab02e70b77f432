// Where else keys are known: a file of tenants, or a service that is asked (contract: v1.1.md 7.3).

import { API_KEY_HEADER } from '../access.ts'
import type { Settings } from './changes.ts'

export type TenantsConfig =
  | { provider: 'file'; path: string }
  | {
      provider: 'http'
      endpoint: string
      maxStaleSeconds: number
      /** A header by which this server makes itself known there. */
      auth?: { name: string; value: string }
    }

const OF_HTTP = [
  'tenants.endpoint',
  'tenants.auth_header',
  'tenants.auth_token',
  'tenants.max_stale_seconds',
] as const

/** The provider that is named, if one is. `file` is where tenants are looked for by the provider of that name. */
export function tenantsOf(settings: Settings, file: string): TenantsConfig | undefined {
  const get = <T>(name: string) => settings.get(name) as T
  const provider = get<TenantsConfig['provider'] | undefined>('tenants.provider')
  if (provider === undefined) return undefined
  if (provider === 'file') return { provider, path: file }
  const name = get<string | undefined>('tenants.auth_header')
  const value = get<string | undefined>('tenants.auth_token')
  return {
    provider,
    endpoint: get('tenants.endpoint'),
    maxStaleSeconds: get('tenants.max_stale_seconds'),
    ...(name !== undefined && value !== undefined && { auth: { name, value } }),
  }
}

/** What is right by itself and wrong beside something else. `places` has where each given setting stands. */
export function findTenantProblems(settings: Settings, places: ReadonlyMap<string, string>): string[] {
  const problems: string[] = []
  const tell = (name: string, problem: string) =>
    problems.push(`${places.get(name) ?? 'Configuration'}: "${name}" ${problem}`)
  const provider = settings.get('tenants.provider')
  if (provider !== undefined && settings.get('server.api_key'))
    tell(
      'tenants.provider',
      `is not possible together with server.api_key (${places.get('server.api_key')}): keys of operators belong under [[auth.keys]] then`,
    )
  if (provider === 'http' && !places.has('tenants.endpoint'))
    tell('tenants.provider', 'needs tenants.endpoint beside it when it is "http", and there is none')
  for (const name of OF_HTTP)
    if (provider !== 'http' && places.has(name)) tell(name, 'is for tenants.provider = "http" alone')
  const header = settings.get('tenants.auth_header')
  if (typeof header === 'string' && header.toLowerCase() === API_KEY_HEADER.toLowerCase())
    tell('tenants.auth_header', `must be another header than ${header}, which has the key that is asked for`)
  if (places.has('tenants.auth_header') !== places.has('tenants.auth_token')) {
    const isHeader = places.has('tenants.auth_header')
    const [given, other] = isHeader ? ['auth_header', 'auth_token'] : ['auth_token', 'auth_header']
    tell(`tenants.${given}`, `needs tenants.${other} beside it, and there is none`)
  }
  return problems
}

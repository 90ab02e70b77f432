// The gateway's front: what stands before it, how much it takes, over what it is spoken to.

import { isIP } from 'node:net'
import type { Settings } from './changes.ts'
import { type Check, isTable, show, text } from './checks.ts'
import { readTable } from './read-table.ts'

/** Files in PEM. */
export type CertificateFiles = { certificate: string; key: string }

/** Without certificates one is made. */
export type TlsConfig = { port: number; certificates: CertificateFiles[] }

export type FrontConfig = {
  /** How many gateways share the port. */
  processes: number
  drainMs: number
  /** How long it is said before that a gateway is stopping. */
  drainNoticeMs: number
  /** Addresses and ranges whose forwarding headers are believed. */
  trustedProxies: string[]
  /** Addresses and ranges whose connections begin with who they are for. */
  proxyProtocol: string[]
  limits: FrontLimits
  tls?: TlsConfig
  /** Names that may be given to sandboxes: names, `*.` and a name, or `*`. */
  customDomains: string[]
}

/** Of each process. */
export type FrontLimits = {
  connections: number
  connectionsPerClient: number
  connectionsPerSandbox: number
  headTimeoutMs: number
  idleTimeoutMs: number
}

export const addressRanges: Check = {
  allowed: 'a list of IP addresses and ranges',
  read(value, report) {
    if (!Array.isArray(value)) return undefined
    for (const [at, item] of value.entries())
      if (typeof item !== 'string' || !isRange(item))
        report(
          [at],
          `must be an IP address or a range, such as "10.0.0.0/8" or "2001:db8::1", but it is ${show(item)}`,
        )
    return value
  },
}

export const certificateList: Check = {
  allowed: 'a list of tables, each written as [[front.tls.certificates]] with certificate and key',
  read(value, report) {
    if (!Array.isArray(value) || !value.every(isTable)) return undefined
    return value.map((table, at): CertificateFiles => {
      const fields = readTable(table, [at], { certificate: text, key: text }, report)
      for (const field of ['certificate', 'key'])
        if (!Object.hasOwn(table, field)) report([at], `needs "${field}", and there is none`)
      return { certificate: String(fields.certificate), key: String(fields.key) }
    })
  },
}

const DOMAIN_PATTERN =
  /^(?:\*|(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)$/

export const domainPatterns: Check = {
  allowed: 'a list of names',
  read(value, report) {
    if (!Array.isArray(value)) return undefined
    return value.map((item, at) => {
      const name = typeof item === 'string' ? item.toLowerCase() : ''
      if (!DOMAIN_PATTERN.test(name))
        report(
          [at],
          `must be "*", a name, or "*." and a name such as "*.example.com", but it is ${show(item)}`,
        )
      return name
    })
  },
}

export function frontOf(settings: Settings, resolvePath: (path: string) => string): FrontConfig {
  const get = <T>(name: string) => settings.get(name) as T
  const port = get<number | undefined>('front.tls.port')
  return {
    processes: get('front.processes'),
    drainMs: get<number>('front.drain_seconds') * 1000,
    drainNoticeMs: get<number>('front.drain_notice_seconds') * 1000,
    trustedProxies: get('front.trusted_proxies'),
    proxyProtocol: get('front.proxy_protocol'),
    limits: {
      connections: get('front.max_connections'),
      connectionsPerClient: get('front.max_connections_per_client'),
      connectionsPerSandbox: get('front.max_connections_per_sandbox'),
      headTimeoutMs: get<number>('front.head_timeout_seconds') * 1000,
      idleTimeoutMs: get<number>('front.idle_timeout_seconds') * 1000,
    },
    ...(port !== undefined && {
      tls: {
        port,
        certificates: get<CertificateFiles[]>('front.tls.certificates').map(({ certificate, key }) => ({
          certificate: resolvePath(certificate),
          key: resolvePath(key),
        })),
      },
    }),
    customDomains: get('front.custom_domains'),
  }
}

/** What is right by itself and wrong beside something else. `places` has where each given setting stands. */
export function findFrontProblems(settings: Settings, places: ReadonlyMap<string, string>): string[] {
  const problems: string[] = []
  const where = (name: string) => `${places.get(name) ?? 'Configuration'}: "${name}"`
  const port = settings.get('front.tls.port')
  if (port === undefined && (settings.get('front.tls.certificates') as unknown[]).length > 0)
    problems.push(`${where('front.tls.certificates')} needs front.tls.port beside it, and there is none`)
  if (port !== undefined && port === settings.get('server.port'))
    problems.push(`${where('front.tls.port')} must be another port than server.port, but it is ${port}`)
  return problems
}

function isRange(range: string): boolean {
  const [address = '', length, ...more] = range.split('/')
  const kind = isIP(address)
  if (kind === 0 || more.length > 0) return false
  return length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= (kind === 4 ? 32 : 128))
}

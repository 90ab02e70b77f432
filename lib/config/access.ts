// The parts of the configuration that say who may do what: keys, and what each tenant may have.

import { hashKey, hashOfWritten, KEY_NAME, ROLES, type Role, TENANT_NAME, WRITTEN_KEY } from '../access.ts'
import { parseBytes, parseNanoCpus } from '../quantity.ts'
import type { Settings } from './changes.ts'
import { type Check, isTable, oneOf, type Report, show } from './checks.ts'
import type { Path } from './lines.ts'
import { readTable } from './read-table.ts'

export type ConfiguredKey = { name: string; hash: string; role: Role; tenant?: string }

/** What a tenant may have at most; what is absent is without a limit. */
export type QuotaLimits = {
  sandboxes?: number
  nanoCpus?: number
  memoryBytes?: number
  createsPerMinute?: number
  snapshots?: number
  /** Of all snapshots together. */
  snapshotBytes?: number
  /** Of all named volumes together. */
  volumeBytes?: number
}

/** The name under which `server.api_key` is known. */
export const OPERATOR_KEY = 'default'
const UNLIMITED = 'unlimited'
const MOST = 1_000_000

export const keyName = named(KEY_NAME)
export const tenantName = named(TENANT_NAME)
const role = oneOf(...ROLES)
const writtenKey: Check = {
  allowed: WRITTEN_KEY,
  read: (v) => (typeof v === 'string' ? hashOfWritten(v) : undefined),
  isSecret: true,
}

export const keyList: Check = {
  allowed: 'a list of tables, each written as [[auth.keys]] with name and key',
  isSecret: true,
  read(value, report) {
    if (!Array.isArray(value) || !value.every(isTable)) return undefined
    const names = new Set([OPERATOR_KEY])
    const byHash = new Map<string, string>()
    return value.map((table, at): ConfiguredKey => {
      const fields = readTable(
        table,
        [at],
        { name: keyName, key: writtenKey, role, tenant: tenantName },
        report,
      )
      const name = fields.name as string | undefined
      const hash = fields.key as string | undefined
      for (const field of ['name', 'key']) {
        if (!Object.hasOwn(table, field)) report([at], `needs "${field}", and there is none`)
      }
      if (name !== undefined && names.has(name))
        report([at, 'name'], `must be a name that no other key has, but it is ${show(name)}`)
      const twin = hash === undefined ? undefined : byHash.get(hash)
      if (twin !== undefined)
        report([at, 'key'], `must be a key that no other name has, but it is that of ${show(twin)}`)
      if (name !== undefined) names.add(name)
      if (hash !== undefined) byHash.set(hash, name ?? '')
      return {
        name: name ?? '',
        hash: hash ?? '',
        role: (fields.role as Role | undefined) ?? 'member',
        ...(fields.tenant !== undefined && { tenant: fields.tenant as string }),
      }
    })
  },
}

const count = limit(`a whole number from 0 to ${MOST}`, (v) => {
  const n = numberOf(v)
  return n !== undefined && Number.isInteger(n) && n >= 0 && n <= MOST ? n : undefined
})
const cpu = limit('a number of CPUs such as 8, 0.5 or "500m"', (v) => {
  const number = numberOf(v)
  const n = typeof v === 'string' ? parseNanoCpus(v) : number && Math.round(number * 1e9)
  return n !== undefined && n >= 0 && n <= MOST * 1e9 ? n : undefined
})
const memory = limit('an amount such as "64Gi", or a whole number of bytes', (v) => {
  const n = typeof v === 'string' ? parseBytes(v) : numberOf(v)
  return n !== undefined && Number.isSafeInteger(n) && n >= 0 ? n : undefined
})

export const quota: Check = {
  allowed:
    'a table of sandboxes, cpu, memory, creates_per_minute, snapshots, snapshot_storage and volume_storage',
  read: (value, report) => (isTable(value) ? readQuota(value, [], report) : undefined),
}

export const quotaTable: Check = {
  allowed: 'a table of tenants, each written as [quotas.tenants.NAME]',
  read(value, report) {
    if (!isTable(value)) return undefined
    const quotas: [string, QuotaLimits][] = []
    for (const [tenant, limits] of Object.entries(value)) {
      if (tenantName.read(tenant, report) === undefined)
        report([tenant], `is no name of a tenant: allowed are ${TENANT_NAME.allowed}`)
      if (isTable(limits)) quotas.push([tenant, readQuota(limits, [tenant], report)])
      else report([tenant], `must be ${quota.allowed}, but it is ${show(limits)}`)
    }
    return quotas
  },
}

/** What is right by itself and wrong beside something else. `places` has where each given setting stands. */
export function findKeyProblems(settings: Settings, places: ReadonlyMap<string, string>): string[] {
  const operator = settings.get('server.api_key')
  if (typeof operator !== 'string' || operator === '') return []
  const hash = hashKey(operator)
  const twin = (settings.get('auth.keys') as ConfiguredKey[]).find((key) => key.hash === hash)
  if (!twin) return []
  return [
    `${places.get('auth.keys')}: the key of ${show(twin.name)} must be another than server.api_key (${places.get('server.api_key')}), but it is the same`,
  ]
}

/** What is in force for a tenant by the configuration: its own limits, and the default's for what it does not name. */
export function mergeQuotas(defaults: QuotaLimits, own: QuotaLimits): QuotaLimits {
  return withoutInfinite({ ...defaults, ...own })
}

/** Limits without those that were lifted in so many words. */
export function withoutInfinite(limits: QuotaLimits): QuotaLimits {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => Number.isFinite(value)))
}

/** Keys that make the quota of a tenant; an unlimited one is infinite, so that it stands above a default. */
function readQuota(table: Record<string, unknown>, at: Path, report: Report): QuotaLimits {
  const fields = readTable(
    table,
    at,
    {
      sandboxes: count,
      cpu,
      memory,
      creates_per_minute: count,
      snapshots: count,
      snapshot_storage: memory,
      volume_storage: memory,
    },
    report,
  )
  const limits: [keyof QuotaLimits, unknown][] = [
    ['sandboxes', fields.sandboxes],
    ['nanoCpus', fields.cpu],
    ['memoryBytes', fields.memory],
    ['createsPerMinute', fields.creates_per_minute],
    ['snapshots', fields.snapshots],
    ['snapshotBytes', fields.snapshot_storage],
    ['volumeBytes', fields.volume_storage],
  ]
  return Object.fromEntries(limits.filter(([, value]) => value !== undefined)) as QuotaLimits
}

function named({
  pattern,
  maxLength,
  allowed,
}: {
  pattern: RegExp
  maxLength: number
  allowed: string
}): Check {
  return {
    allowed: `1 to ${maxLength} ${allowed}, the first and the last no sign`,
    read: (v) => (typeof v === 'string' && v.length <= maxLength && pattern.test(v) ? v : undefined),
  }
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined
}

function limit(allowed: string, read: (value: unknown) => number | undefined): Check {
  return {
    allowed: `${allowed}, or "${UNLIMITED}"`,
    read: (v) => (v === UNLIMITED ? Number.POSITIVE_INFINITY : read(v)),
  }
}

// Warm sandboxes run what their tenant says, before anybody claims them and a quota counts them. So a tenant has its pools keep no more
// of them than its quota allows it sandboxes.

import { refusal } from '../errors.ts'
import type { Limits, PoolCapacity, Quota } from '../store/schema.ts'
import { type PlannedPool, type PoolDeps, planPool } from './pools.ts'

type Warm = { sandboxes: number; limits: Limits }

/** How many a pool keeps warm at most. */
export function mostWarm({ bufferMax, poolMin, poolMax }: PoolCapacity): number {
  return Math.min(Math.max(bufferMax, poolMin), poolMax)
}

/** Throws 403 when a tenant's pools would together keep more warm than its quota, with `wanted` as it is to be. */
export function requireWithinQuota(
  deps: Pick<PoolDeps, 'pools' | 'templates' | 'planLimits'>,
  quota: Quota,
  { pool: wanted, plan }: Pick<PlannedPool, 'pool' | 'plan'>,
): void {
  const others = deps.pools
    .list(wanted.tenant)
    .filter(({ name }) => name !== wanted.name)
    .map((pool): Warm => {
      try {
        return { sandboxes: mostWarm(pool.capacity), limits: planPool(deps, pool).plan.limits }
      } catch {
        return { sandboxes: 0, limits: {} } // nothing can be made of it
      }
    })
  const problem = overQuotaOf(quota, others, { sandboxes: mostWarm(wanted.capacity), limits: plan.limits })
  if (problem) throw refusal('KUBERNETES::QUOTA_EXCEEDED', `capacitySpec: ${problem}`)
}

/** What speaks against so many more, in words, or undefined. */
function overQuotaOf(quota: Quota, others: readonly Warm[], wanted: Warm): string | undefined {
  if (wanted.sandboxes === 0) return undefined
  const all = [...others, wanted]
  for (const { what, most, ofOne, unit, field } of countedBy(quota)) {
    if (ofOne(wanted.limits) === undefined)
      return `its sandboxes need resourceLimits.${field}, as ${what} are counted`
    const sum = all.reduce((total, { sandboxes, limits }) => total + sandboxes * (ofOne(limits) ?? 0), 0)
    if (sum > most)
      return `the pools of a tenant may together keep warm as much as its quota has, ${most / unit} ${what}, and this makes it ${sum / unit}`
  }
  return undefined
}

/**
 * Pools as their tenants' quotas let them be kept, which may have been larger when they were made: each keeps no more warm than those
 * before it have left. What the operator has said of a pool stands, and counts for none.
 */
export function capToQuotas<T extends Pick<PlannedPool, 'pool' | 'plan'>>(
  planned: readonly T[],
  quotaOf: (tenant: string) => Quota,
): T[] {
  const left = new Map<string, Counted[]>()
  return planned.map((one) => {
    const { pool, plan } = one
    if (pool.byOperator) return one
    const counted = left.get(pool.tenant) ?? countedBy(quotaOf(pool.tenant))
    const wanted = mostWarm(pool.capacity)
    const places = Math.min(wanted, ...counted.map(({ most, ofOne }) => placesIn(most, ofOne(plan.limits))))
    left.set(
      pool.tenant,
      counted.map((each) => ({ ...each, most: each.most - places * (each.ofOne(plan.limits) ?? 0) })),
    )
    return places === wanted ? one : { ...one, pool: { ...pool, capacity: capTo(pool.capacity, places) } }
  })
}

function placesIn(most: number, ofOne: number | undefined): number {
  if (ofOne === undefined) return 0
  return ofOne === 0 ? Number.POSITIVE_INFINITY : Math.max(0, Math.floor(most / ofOne))
}

function capTo(capacity: PoolCapacity, places: number): PoolCapacity {
  const { bufferMin, bufferMax, poolMin } = capacity
  return {
    ...capacity,
    bufferMin: Math.min(bufferMin, places),
    bufferMax: Math.min(bufferMax, places),
    poolMin: Math.min(poolMin, places),
  }
}

type Counted = {
  what: string
  most: number
  ofOne: (limits: Limits) => number | undefined
  unit: number
  field: string
}

/** What a quota counts of warm sandboxes. */
function countedBy({ sandboxes, nanoCpus, memoryBytes }: Quota): Counted[] {
  const all = [
    { what: 'sandboxes', most: sandboxes, ofOne: () => 1, unit: 1, field: '' },
    { what: 'CPUs', most: nanoCpus, ofOne: (limits: Limits) => limits.nanoCpus, unit: 1e9, field: 'cpu' },
    {
      what: 'bytes of memory',
      most: memoryBytes,
      ofOne: (limits: Limits) => limits.memoryBytes,
      unit: 1,
      field: 'memory',
    },
  ]
  return all.flatMap(({ most, ...rest }) => (most === undefined ? [] : [{ ...rest, most }]))
}

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
export function overQuotaOf(quota: Quota, others: readonly Warm[], wanted: Warm): string | undefined {
  if (wanted.sandboxes === 0) return undefined
  const all = [...others, wanted]
  const checks = [
    ['sandboxes', quota.sandboxes, () => 1, 1, ''],
    ['CPUs', quota.nanoCpus, ({ nanoCpus }: Limits) => nanoCpus, 1e9, 'cpu'],
    ['bytes of memory', quota.memoryBytes, ({ memoryBytes }: Limits) => memoryBytes, 1, 'memory'],
  ] as const
  for (const [what, most, ofOne, unit, field] of checks) {
    if (most === undefined) continue
    if (ofOne(wanted.limits) === undefined)
      return `its sandboxes need resourceLimits.${field}, as ${what} are counted`
    const sum = all.reduce((total, { sandboxes, limits }) => total + sandboxes * (ofOne(limits) ?? 0), 0)
    if (sum > most)
      return `the pools of a tenant may together keep warm as much as its quota has, ${most / unit} ${what}, and this makes it ${sum / unit}`
  }
  return undefined
}

// What a tenant may have at once, and how fast it may ask for more. A quota set by an admin stands above the configuration's.
// The check and the row of the new sandbox come without a pause in between, so two creates cannot both take the last place.

import type { ApiError } from '../../lib/errors.ts'
import { refusal } from '../errors.ts'
import type { Kept, QuotaStore, Usage } from '../store/quotas.ts'
import type { Limits, Quota } from '../store/schema.ts'

const MINUTE_MS = 60_000

export type QuotaSettings = {
  /** For tenants that have none of their own. */
  default: Quota
  tenants: Record<string, Quota>
}

export class Quotas {
  readonly store: QuotaStore
  readonly #now: () => number
  #settings: QuotaSettings
  /** When each tenant's creates of the last minute began. */
  readonly #creates = new Map<string, number[]>()

  constructor({ store, settings, now }: { store: QuotaStore; settings: QuotaSettings; now: () => number }) {
    this.store = store
    this.#settings = settings
    this.#now = now
  }

  /** Takes the quotas of a configuration that was read anew. */
  configure(settings: QuotaSettings): void {
    this.#settings = settings
  }

  /** What is in force for a tenant. */
  of(tenant: string): Quota {
    const { tenants } = this.#settings
    // A tenant may have the name of something that every object has.
    const own = Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined
    return this.store.get(tenant) ?? own ?? this.#settings.default
  }

  /** Everyone of whom there is a sandbox or a quota. */
  tenants(): string[] {
    return [...new Set([...this.store.tenants(), ...Object.keys(this.#settings.tenants)])].sort()
  }

  /** Lets one more sandbox of a tenant in, or throws 403 when it would be too many or too large, 429 when it comes too soon. */
  admit(tenant: string, limits: Limits): void {
    const quota = this.of(tenant)
    if (Object.keys(quota).length === 0) return
    this.#checkRate(tenant, quota.createsPerMinute)
    const used = this.store.usage(tenant)
    const problem = overQuota(quota, used, limits)
    if (problem) throw exceeded(tenant, problem)
    this.#note(tenant, quota.createsPerMinute)
  }

  /** Lets one more snapshot of a tenant in, or throws 403. */
  admitSnapshot(tenant: string): void {
    const problem = overSnapshots(this.of(tenant), this.store.kept(tenant))
    if (problem) throw exceeded(tenant, problem)
  }

  /** Why a snapshot of this size, which has been taken, cannot be kept; undefined when it can. */
  snapshotRefusal(tenant: string, sizeBytes: number): string | undefined {
    const { snapshotBytes: most } = this.of(tenant)
    if (most === undefined) return undefined
    const { snapshotBytes: used, forkedSnapshots } = this.store.kept(tenant)
    const either = forkedSnapshots > 0 ? ', or sandboxes that were made by forks' : ''
    return used + sizeBytes > most
      ? ofTenant(
          tenant,
          `at most ${most} bytes of snapshots; there are ${used}, and this one has ${sizeBytes}: delete some${either}`,
        )
      : undefined
  }

  /** Lets a tenant have one more volume, or write to those that it has, or throws 403. */
  admitVolume(tenant: string): void {
    const { volumeBytes: most } = this.of(tenant)
    if (most === undefined) return
    const { volumeBytes: used, unmeasuredVolumes: unknown } = this.store.kept(tenant)
    // What nobody can count may be more than all that is allowed.
    if (unknown > 0)
      throw exceeded(
        tenant,
        `at most ${most} bytes of volumes; it is not known how many there are, as ${unknown} could not be measured in time: remove them, or some of the files in them`,
      )
    if (used >= most)
      throw exceeded(
        tenant,
        `at most ${most} bytes of volumes; there are ${used}: remove some, or what is in them`,
      )
  }

  #checkRate(tenant: string, perMinute: number | undefined): void {
    if (perMinute === undefined) return
    const now = this.#now()
    const recent = (this.#creates.get(tenant) ?? []).filter((at) => at > now - MINUTE_MS && at <= now)
    this.#creates.set(tenant, recent)
    if (recent.length < perMinute) return
    const free = recent[recent.length - perMinute]
    const seconds = free === undefined ? 60 : Math.max(1, Math.ceil((free + MINUTE_MS - now) / 1000))
    throw refusal(
      'GENERAL::TOO_MANY_REQUESTS',
      `Quota of tenant "${tenant}": at most ${perMinute} creates in a minute; try again in ${seconds} s`,
      { headers: { 'Retry-After': String(seconds) } },
    )
  }

  #note(tenant: string, perMinute: number | undefined): void {
    if (perMinute !== undefined) this.#creates.get(tenant)?.push(this.#now())
  }
}

function ofTenant(tenant: string, problem: string): string {
  return `Quota of tenant "${tenant}": ${problem}`
}

function exceeded(tenant: string, problem: string): ApiError {
  return refusal('KUBERNETES::QUOTA_EXCEEDED', ofTenant(tenant, problem))
}

/** What speaks against one more snapshot, in words, or undefined. How large it will be nobody knows yet. */
export function overSnapshots(
  quota: Quota,
  { snapshots, forkedSnapshots, snapshotBytes }: Kept,
): string | undefined {
  const behindForks =
    forkedSnapshots > 0
      ? `, ${forkedSnapshots} of them behind forks, which go with their sandboxes: delete some of either`
      : ': delete some'
  if (quota.snapshots !== undefined && snapshots >= quota.snapshots)
    return `at most ${quota.snapshots} snapshots; there are ${snapshots}${behindForks}`
  if (quota.snapshotBytes !== undefined && snapshotBytes >= quota.snapshotBytes)
    return `at most ${quota.snapshotBytes} bytes of snapshots; there are ${snapshotBytes} in ${snapshots} snapshots${behindForks}`
  return undefined
}

/** What speaks against one more sandbox, in words, or undefined. A limit that is not given is none, so it cannot be counted. */
export function overQuota(quota: Quota, used: Usage, wanted: Limits): string | undefined {
  if (quota.sandboxes !== undefined && used.sandboxes + 1 > quota.sandboxes)
    return `at most ${quota.sandboxes} sandboxes; there are ${used.sandboxes}`
  if (quota.nanoCpus !== undefined) {
    if (wanted.nanoCpus === undefined) return 'resourceLimits.cpu is required, as CPUs are counted'
    if (used.nanoCpus + wanted.nanoCpus > quota.nanoCpus)
      return `at most ${quota.nanoCpus / 1e9} CPUs; ${used.nanoCpus / 1e9} are in use and ${wanted.nanoCpus / 1e9} more are asked for`
  }
  if (quota.memoryBytes !== undefined) {
    if (wanted.memoryBytes === undefined) return 'resourceLimits.memory is required, as memory is counted'
    if (used.memoryBytes + wanted.memoryBytes > quota.memoryBytes)
      return `at most ${quota.memoryBytes} bytes of memory; ${used.memoryBytes} are in use and ${wanted.memoryBytes} more are asked for`
  }
  return undefined
}

// Keeps pools filled. It knows nothing but rows: how many sandboxes a pool has, warm and claimed, and what the pool asks for; so
// it goes on where an earlier process has stopped. Warm sandboxes are made and removed like all others.

import { messageOf } from '../../lib/errors.ts'
import { type Backoff, backoffMs, pause } from '../async.ts'
import { removeSandbox } from '../sandbox/change.ts'
import { beginStart, newRow } from '../sandbox/create.ts'
import { openMounts } from '../sandbox/host-paths.ts'
import { requireVolumes } from '../sandbox/named-volumes.ts'
import type { CreatePlan } from '../sandbox/plan.ts'
import { Wake } from '../sandbox/wake.ts'
import type { PoolMember, PoolRow } from '../store/pools.ts'
import type { SandboxRow } from '../store/rows.ts'
import { giveBack } from './claim.ts'
import { isClaimable, keyOf, type PlannedPool, type PoolDeps, planPool } from './pools.ts'
import { capToQuotas, mostWarm } from './quota.ts'
import { decideRefill } from './refill.ts'
import { Starts } from './starts.ts'
import { WarmHealth } from './warm-health.ts'

const BETWEEN_LOOKS_MS = 25
const LONGEST_WAIT_MS = 10_000
/** For the next start of a pool whose last one failed. */
const AFTER_FAILURE: Backoff = { firstMs: 1000, longestMs: 60_000 }
const WARM_UP_TIMEOUT_MS = 10_000

type Trouble = { failures: number; retryAt: number; message: string; inTemplate: boolean }

export class PoolKeeper {
  readonly #deps: PoolDeps
  readonly #wake = new Wake()
  readonly #troubles = new Map<string, Trouble>()
  /** How many are kept warm of those that a quota makes smaller than they are to be. */
  readonly #capped = new Map<string, number>()
  /** Pools that have begun to be filled and are not full yet. */
  readonly #filling = new Set<string>()
  readonly #health: WarmHealth
  readonly #removing = new Set<string>()
  readonly #work = new Set<Promise<void>>()
  /** Starts that have no row yet, by pool. */
  readonly #beginning = new Map<string, number>()
  /** Starts of which it is not known how they went; one that failed has no row any more. Ids with their pools. */
  readonly #starting = new Map<string, string>()

  constructor(deps: PoolDeps) {
    this.#deps = deps
    this.#health = new WarmHealth(deps)
  }

  /** Says that a pool was made or changed. */
  wake(): void {
    this.#wake.call()
  }

  /** Why a pool could not be filled, last time. */
  troubleOf(pool: PoolRow): string | undefined {
    const capped = this.#capped.get(keyOf(pool))
    return (
      this.#troubles.get(keyOf(pool))?.message ??
      (capped === undefined ? undefined : `The quota of its tenant lets it keep ${capped} warm`)
    )
  }

  /** Forgets the failures of a pool that is another one now. */
  forget(pool: { tenant: string; name: string }): void {
    this.#troubles.delete(keyOf(pool))
  }

  /** The wall clock has jumped: what was to be in a moment still is. */
  shift(byMs: number): void {
    for (const trouble of this.#troubles.values()) trouble.retryAt += byMs
    this.#health.shift(byMs)
  }

  /** Takes back what was being claimed when an earlier process ended. To be called before anything is claimed. */
  recover(): void {
    for (const id of this.#deps.pools.halfClaimed()) giveBack(this.#deps, id)
  }

  /** Fills pools until the program stops. Resolves once what it has begun has ended. */
  async run(): Promise<void> {
    const { store, signal, log, now } = this.#deps.lives
    const stopWatching = store.watch(({ row }) => {
      if (!row || row.pool !== null || row.warm) this.#wake.call()
    })
    try {
      while (!signal.aborted) {
        let waitMs = LONGEST_WAIT_MS
        try {
          this.#tend()
          const waits = [...this.#troubles.values()].map(({ retryAt }) => retryAt - now())
          waitMs = Math.min(...waits.filter((ms) => ms > 0), LONGEST_WAIT_MS)
        } catch (error) {
          log.error('pools could not be tended; it is tried again', { error: messageOf(error) })
        }
        await this.#wake.wait(signal, waitMs)
        // One look answers many changes: a burst of claims is not slowed down by one look for each.
        await pause(BETWEEN_LOOKS_MS, signal)
      }
    } finally {
      stopWatching()
      await Promise.all(this.#work)
    }
  }

  /** One look at all pools: decides, and begins what is to be done. */
  #tend(): void {
    const { pools } = this.#deps
    const byPool = new Map<string, PoolMember[]>()
    const warm = new Set<string>()
    for (const member of pools.members()) {
      if (member.warm) warm.add(member.id)
      const key = member.pool === null ? '' : keyOf({ tenant: member.tenant, name: member.pool })
      const members = byPool.get(key)
      if (members) members.push(member)
      else byPool.set(key, [member])
    }
    const known = pools.list()
    const starts = new Starts(known)
    for (const [key, count] of this.#beginning) starts.add(key.split('/')[0] ?? '', count)
    for (const members of byPool.values())
      for (const { tenant, warm, state } of members) if (warm && state === 'Pending') starts.add(tenant, 1)
    const planned = known.flatMap((pool) => this.#plan(pool) ?? [])
    for (const each of this.#withinQuotas(planned)) {
      const { tenant } = each.pool
      const members = byPool.get(keyOf(each.pool)) ?? []
      starts.add(tenant, this.#tendOne(each, members, starts.freeFor(tenant)))
    }
    for (const pool of known) byPool.delete(keyOf(pool))
    // What is left belongs to no pool that there is.
    for (const members of byPool.values())
      for (const member of members) if (member.warm) this.#remove(member.id, 'POOL_DELETED')
    const names = new Set(known.map(keyOf))
    for (const noted of [this.#troubles, this.#filling])
      for (const key of noted.keys()) if (!names.has(key)) noted.delete(key)
    this.#health.keep(warm)
  }

  /** Tends one pool, starting at most `free` sandboxes, and returns how many were. */
  #tendOne(planned: PlannedPool, members: PoolMember[], free: number): number {
    const { now } = this.#deps.lives
    const key = keyOf(planned.pool)
    const warm = members.filter((member) => member.warm && member.state !== 'Stopping')
    const usable = warm.filter(
      ({ state, revision }) => revision === planned.revision && (state === 'Running' || state === 'Pending'),
    )
    const kept = new Set(usable)
    for (const member of warm) if (!kept.has(member)) this.#remove(member.id, 'POOL_REPLACED')
    const ids = new Set(members.map(({ id }) => id))
    const unseen = [...this.#starting].filter(([id, of]) => of === key && !ids.has(id)).length
    const beginning = (this.#beginning.get(key) ?? 0) + unseen
    const refill = decideRefill(planned.pool.capacity, {
      allocated: members.filter(({ warm, state }) => !warm && state !== 'Terminated' && state !== 'Failed')
        .length,
      buffer: usable.length + beginning,
      leaving: members.filter(({ warm }) => warm).length - usable.length,
      isFilling: this.#filling.has(key),
    })
    for (const member of usable.slice(0, refill.spare)) this.#remove(member.id, 'POOL_SHRUNK')
    for (const member of usable.slice(refill.spare))
      if (isClaimable(member, planned.revision) && this.#health.isDue(member.id)) this.#check(member.id)
    if (refill.make > 0) this.#filling.add(key)
    else this.#filling.delete(key)
    if ((this.#troubles.get(key)?.retryAt ?? 0) > now()) return 0
    const count = Math.min(refill.make, free)
    for (let made = 0; made < count; made++) this.#make(planned)
    return count
  }

  #withinQuotas(planned: PlannedPool[]): PlannedPool[] {
    const { quotas } = this.#deps.lives
    const capped = capToQuotas(planned, (tenant) => quotas.of(tenant))
    this.#capped.clear()
    for (const [at, { pool }] of capped.entries())
      if (pool !== planned[at]?.pool) this.#capped.set(keyOf(pool), mostWarm(pool.capacity))
    return capped
  }

  #plan(pool: PoolRow): PlannedPool | undefined {
    try {
      const planned = planPool(this.#deps, pool)
      if (this.#troubles.get(keyOf(pool))?.inTemplate) this.forget(pool)
      return planned
    } catch (error) {
      this.#failed(pool, error, { inTemplate: true })
      return undefined
    }
  }

  #make({ pool, plan, revision }: PlannedPool): void {
    const { lives } = this.#deps
    const key = keyOf(pool)
    const begin = (by: number) => this.#beginning.set(key, (this.#beginning.get(key) ?? 0) + by)
    begin(1)
    this.#do(async () => {
      let row: SandboxRow | undefined
      try {
        const mounts = await openMounts(plan.mounts, lives.settings.allowedHostPaths, lives.files)
        row = this.#insert(pool, { ...plan, mounts, createdAt: lives.now() }, revision)
      } catch (error) {
        this.#failed(pool, error)
      } finally {
        // From here on its row is counted, with nothing in between.
        begin(-1)
      }
      if (!row) return
      this.#starting.set(row.id, key)
      try {
        await this.#warmUp(await beginStart(lives, row, plan.image).done)
        this.#troubles.delete(key)
      } catch (error) {
        if (!lives.signal.aborted && !this.#removing.has(row.id)) this.#failed(pool, error)
      } finally {
        this.#starting.delete(row.id)
      }
      this.#wake.call()
    })
  }

  /** Lets execd load what it needs for commands, so that the first one of whoever claims the sandbox does not wait for that. */
  async #warmUp({ id, address, execdToken }: SandboxRow): Promise<void> {
    const { lives, execd } = this.#deps
    try {
      const signal = AbortSignal.any([lives.signal, AbortSignal.timeout(WARM_UP_TIMEOUT_MS)])
      await execd.run({ address: address ?? '', token: execdToken }, { line: ':' }, signal)
    } catch (error) {
      // It can be claimed all the same; whether it answers is asked again and again.
      lives.log.debug('a sandbox could not be warmed up', { sandbox: id, error: messageOf(error) })
    }
  }

  #insert(pool: PoolRow, plan: CreatePlan, revision: string): SandboxRow | undefined {
    const { lives, pools } = this.#deps
    if (lives.signal.aborted || !pools.get(pool)) return undefined
    const owner = { tenant: pool.tenant, createdBy: null }
    requireVolumes(lives, pool.tenant, plan.volumes)
    return lives.store.insert(
      {
        ...newRow(lives, plan, { owner, source: { pool: { name: pool.name, revision } } }),
        hidden: true,
        warm: true,
      },
      { volumes: plan.volumes },
    )
  }

  #failed(pool: PoolRow, error: unknown, { inTemplate = false } = {}): void {
    const { lives } = this.#deps
    const key = keyOf(pool)
    const before = this.#troubles.get(key)
    // Starts that fail side by side are one failure.
    if (before && before.retryAt > lives.now()) return
    const failures = (before?.failures ?? 0) + 1
    const pauseMs = backoffMs(AFTER_FAILURE, failures, Math.random())
    const message = messageOf(error)
    this.#troubles.set(key, { failures, retryAt: lives.now() + pauseMs, message, inTemplate })
    lives.log.warn('a pool could not be filled; it is tried again', {
      pool: key,
      error: message,
      inMs: pauseMs,
    })
  }

  #remove(id: string, reason: string): void {
    if (this.#removing.has(id)) return
    this.#removing.add(id)
    const { lives } = this.#deps
    this.#do(async () => {
      try {
        await removeSandbox(lives, id, reason, (row) => row.warm)
      } catch (error) {
        lives.log.error('a warm sandbox could not be removed yet', { sandbox: id, error: messageOf(error) })
        lives.doubts.add(id, lives.now())
      } finally {
        this.#removing.delete(id)
      }
    })
  }

  #check(id: string): void {
    this.#do(async () => {
      if (!(await this.#health.answers(id))) this.#remove(id, 'POOL_UNHEALTHY')
    })
  }

  #do(work: () => Promise<void>): void {
    const running = work()
    this.#work.add(running)
    void running.finally(() => this.#work.delete(running))
  }
}

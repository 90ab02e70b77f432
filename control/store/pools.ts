// Pools: what is asked for, and which sandboxes are theirs.

import { and, asc, eq, isNotNull, isNull, ne, or, sql } from 'drizzle-orm'
import type { SandboxState } from '../../lib/api/lifecycle.ts'
import type { Database } from './database.ts'
import { prepareOldestWarm } from './rows.ts'
import { pools, sandboxes } from './schema.ts'

export type PoolRow = typeof pools.$inferSelect
export type PoolKey = { tenant: string; name: string }

/** One sandbox of a pool, as far as the pool has to know. */
export type PoolMember = {
  id: string
  tenant: string
  /** Null: of a pool that is gone. */
  pool: string | null
  state: SandboxState
  warm: boolean
  revision: string | null
  createdAt: number
}

export class PoolStore {
  readonly #database: Database
  readonly #prepared

  constructor(database: Database) {
    this.#database = database
    this.#prepared = prepareAll(database)
  }

  get({ tenant, name }: PoolKey): PoolRow | undefined {
    return this.#prepared.get.get({ tenant, name })
  }

  /** Those of a tenant, or of all, by tenant and name. */
  list(tenant?: string): PoolRow[] {
    return this.#database.orm
      .select()
      .from(pools)
      .where(tenant === undefined ? undefined : eq(pools.tenant, tenant))
      .orderBy(asc(pools.tenant), asc(pools.name))
      .all()
  }

  /** Writes a new pool, or returns undefined when its tenant has one of this name. */
  insert(pool: typeof pools.$inferInsert): PoolRow | undefined {
    return this.#database.orm.insert(pools).values(pool).onConflictDoNothing().returning().get()
  }

  change(
    { tenant, name }: PoolKey,
    change: Partial<Pick<PoolRow, 'capacity' | 'template' | 'byOperator'>> & { updatedAt: number },
  ): PoolRow | undefined {
    return this.#database.orm
      .update(pools)
      .set(change)
      .where(and(eq(pools.tenant, tenant), eq(pools.name, name)))
      .returning()
      .get()
  }

  /** Removes a pool. Sandboxes that were claimed from it are nobody's but their owner's from now on. */
  delete({ tenant, name }: PoolKey): boolean {
    const { orm, transact } = this.#database
    return transact(() => {
      const gone = orm
        .delete(pools)
        .where(and(eq(pools.tenant, tenant), eq(pools.name, name)))
        .run()
      if (gone.changes === 0) return false
      orm
        .update(sandboxes)
        .set({ pool: null })
        .where(and(eq(sandboxes.tenant, tenant), eq(sandboxes.pool, name), eq(sandboxes.warm, false)))
        .run()
      return true
    })
  }

  /** The sandboxes of one pool, or of all, the oldest first: warm ones and claimed ones. */
  members(key?: PoolKey): PoolMember[] {
    return this.#database.orm
      .select({
        id: sandboxes.id,
        tenant: sandboxes.tenant,
        pool: sandboxes.pool,
        state: sandboxes.state,
        warm: sandboxes.warm,
        revision: sandboxes.poolRevision,
        createdAt: sandboxes.createdAt,
      })
      .from(sandboxes)
      .where(
        key
          ? and(eq(sandboxes.pool, key.name), eq(sandboxes.tenant, key.tenant))
          : or(isNotNull(sandboxes.pool), and(eq(sandboxes.warm, true), isNull(sandboxes.templateId))),
      )
      .orderBy(asc(sandboxes.createdAt), asc(sandboxes.id))
      .all()
  }

  /** Whether a pool has a sandbox of this shape to give. */
  hasWarm({ tenant, name }: PoolKey, revision: string): boolean {
    return this.#prepared.oldestWarm.get({ tenant, pool: name, revision }) !== undefined
  }

  /** Those whose claim began and was not finished: nobody knows of them. */
  halfClaimed(): string[] {
    return this.#database.orm
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(
        and(
          isNotNull(sandboxes.poolRevision),
          eq(sandboxes.warm, false),
          eq(sandboxes.hidden, true),
          ne(sandboxes.state, 'Stopping'),
        ),
      )
      .all()
      .map(({ id }) => id)
  }
}

/** What each claim asks. */
function prepareAll(database: Database) {
  return {
    get: database.orm
      .select()
      .from(pools)
      .where(and(eq(pools.tenant, sql.placeholder('tenant')), eq(pools.name, sql.placeholder('name'))))
      .prepare(),
    oldestWarm: prepareOldestWarm(database),
  }
}

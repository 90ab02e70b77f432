// How much there is, for whoever watches: counted when it is asked for, in a few statements over indexed columns.

import { statSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import type { SandboxState } from '../../lib/api/lifecycle.ts'
import { systemCodeOf } from '../../lib/errors.ts'
import type { Database } from './database.ts'
import type { PoolCapacity } from './schema.ts'

export type PoolFigures = {
  tenant: string
  name: string
  capacity: PoolCapacity
  /** Ready to be claimed, being made, and in the hands of their owners. */
  warm: number
  filling: number
  claimed: number
}

/** How many sandboxes there are in each state, warm ones of pools too. */
export function countSandboxes({ orm }: Database): Map<SandboxState, number> {
  const rows = orm.all<{ state: SandboxState; n: number }>(
    sql`SELECT state, count(*) AS n FROM sandboxes GROUP BY state`,
  )
  return new Map(rows.map(({ state, n }) => [state, n]))
}

/** What is in the pools, by tenant and name. */
export function countPools({ orm }: Database): PoolFigures[] {
  return orm
    .all<Omit<PoolFigures, 'capacity'> & { capacity: string }>(
      sql`SELECT pools.tenant AS tenant, pools.name AS name, pools.capacity AS capacity,
        count(CASE WHEN warm = 1 AND sandboxes.state = 'Running' THEN 1 END) AS warm,
        count(CASE WHEN warm = 1 AND sandboxes.state = 'Pending' THEN 1 END) AS filling,
        count(CASE WHEN warm = 0 THEN 1 END) AS claimed
      FROM pools LEFT JOIN sandboxes ON sandboxes.pool = pools.name AND sandboxes.tenant = pools.tenant
      GROUP BY pools.tenant, pools.name ORDER BY pools.tenant, pools.name`,
    )
    .map(({ capacity, ...figures }) => ({ ...figures, capacity: JSON.parse(capacity) as PoolCapacity }))
}

/** Bytes of the database, and of the log of changes that are not in it yet. */
export function sizeOf({ raw }: Database): { main: number; log: number } {
  const pages = Number(raw.pragma('page_count', { simple: true }))
  const pageBytes = Number(raw.pragma('page_size', { simple: true }))
  return { main: pages * pageBytes, log: logSizeOf({ raw }) }
}

/** Bytes of the log of changes; 0 before the first one. */
function logSizeOf({ raw }: Pick<Database, 'raw'>): number {
  if (raw.memory) return 0
  try {
    return statSync(`${raw.name}-wal`).size
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return 0
    throw error
  }
}

/**
 * Bytes of the log that are not in the database yet. The file may be longer: what follows is left of an earlier log. SQLite itself is
 * asked: whoever opens and closes a file of the database beside it takes away the locks that this process has on it.
 */
export function pendingLogOf({ raw }: Pick<Database, 'raw'>): number {
  const [found] = raw.pragma('wal_checkpoint(NOOP)') as { log: number; checkpointed: number }[]
  const pages = (found?.log ?? 0) - (found?.checkpointed ?? 0)
  return Math.max(pages, 0) * Number(raw.pragma('page_size', { simple: true }))
}

// Rows that are kept for a time only, and how a slice of the old ones is removed. SQLite is asked on the thread that answers
// requests, so nothing here removes more than the caller says at once.

import { type SQL, sql } from 'drizzle-orm'
import type { Database } from './database.ts'

export const KEPT_FOR_A_TIME = ['events', 'endedSandboxes', 'audit', 'idempotency'] as const
export type KeptForATime = (typeof KEPT_FOR_A_TIME)[number]

const DELETE: Record<KeptForATime, (before: number, limit: number) => SQL> = {
  events: (before, limit) =>
    sql`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < ${before} ORDER BY at LIMIT ${limit})`,
  endedSandboxes: (before, limit) =>
    sql`DELETE FROM past_sandboxes WHERE rowid IN
      (SELECT rowid FROM past_sandboxes WHERE ended_at < ${before} ORDER BY ended_at LIMIT ${limit})`,
  audit: (before, limit) =>
    sql`DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ${before} ORDER BY at LIMIT ${limit})`,
  idempotency: (before, limit) =>
    sql`DELETE FROM idempotency WHERE (tenant, key) IN
      (SELECT tenant, key FROM idempotency WHERE created_at < ${before} ORDER BY created_at LIMIT ${limit})`,
}

/** Removes at most `limit` rows from before `before`, the oldest first; how many there were. */
export function prune(database: Database, what: KeptForATime, before: number, limit: number): number {
  return database.orm.run(DELETE[what](before, limit)).changes
}

/** What each tenant has so much of at most, whatever its age: else one alone could fill the disk of all. */
export const BOUNDED = ['events', 'endedSandboxes', 'audit'] as const
export type Bounded = (typeof BOUNDED)[number]

/** Whose what is that no tenant has done: of callers without a key, and of the operator's keys (migrations/0010). */
export const NOBODY = '(nobody)'
export const OPERATOR = '(operator)'

const DELETE_OLDEST: Record<Bounded, (owner: string, limit: number) => SQL> = {
  events: (owner, limit) =>
    sql`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE tenant = ${owner} ORDER BY id LIMIT ${limit})`,
  endedSandboxes: (owner, limit) =>
    sql`DELETE FROM past_sandboxes WHERE rowid IN
      (SELECT rowid FROM past_sandboxes WHERE tenant = ${owner} ORDER BY ended_at LIMIT ${limit})`,
  audit: (owner, limit) =>
    sql`DELETE FROM audit WHERE id IN (SELECT id FROM audit ${auditOf(owner)} ORDER BY id LIMIT ${limit})`,
}

/** By the index of each, which is not always the one that SQLite would take. */
function auditOf(owner: string): SQL {
  if (owner === NOBODY) return sql`INDEXED BY audit_of_nobody WHERE role = 'none'`
  if (owner === OPERATOR) return sql`INDEXED BY audit_of_operator WHERE tenant IS NULL AND role <> 'none'`
  return sql`INDEXED BY audit_by_tenant WHERE tenant = ${owner}`
}

/** Who has more than `maxBytes` of something. */
export function ownersBeyond({ orm }: Database, maxBytes: number): { what: Bounded; owner: string }[] {
  return orm.all(sql`SELECT what, owner FROM kept_amounts WHERE bytes > ${maxBytes}`)
}

/**
 * Removes at most `limit` of an owner's oldest rows, and about as many as are too much. How many there were: none once it is within
 * its bound.
 */
export function trim(
  database: Database,
  { what, owner, maxBytes, limit }: { what: Bounded; owner: string; maxBytes: number; limit: number },
): number {
  return database.transact(() => {
    const { rows = 0, bytes = 0 } =
      database.orm.get<{ rows: number; bytes: number } | undefined>(
        sql`SELECT row_count AS rows, bytes FROM kept_amounts WHERE what = ${what} AND owner = ${owner}`,
      ) ?? {}
    if (bytes <= maxBytes) return 0
    const excess = Math.ceil(((bytes - maxBytes) * rows) / bytes)
    return database.orm.run(DELETE_OLDEST[what](owner, Math.min(excess, limit))).changes
  })
}

/** How many pages of the file hold nothing, and how many there are. */
export function countPages({ raw }: Database): { free: number; all: number } {
  return {
    free: Number(raw.pragma('freelist_count', { simple: true })),
    all: Number(raw.pragma('page_count', { simple: true })),
  }
}

/** Whether `shrink` can do anything: a file that an early version has made only ever uses its free pages again. */
export function canShrink({ raw }: Database): boolean {
  return Number(raw.pragma('auto_vacuum', { simple: true })) === 2
}

/** Gives at most `pages` free pages back to the disk; how many it were. */
export function shrink(database: Database, pages: number): number {
  const before = countPages(database).all
  database.raw.pragma(`incremental_vacuum(${Math.floor(pages)})`)
  return before - countPages(database).all
}

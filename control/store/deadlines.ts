// When sandboxes end or are paused as idle, read from the indexes of these times, so that a look costs the same however many there
// are.

import { and, asc, isNotNull, lte, notInArray, type SQL, sql } from 'drizzle-orm'
import { LAST_MOMENT } from '../clock.ts'
import type { Database } from './database.ts'
import { sandboxes } from './schema.ts'

/** As it stands in the index of deadlines, which is used only when no value has to be filled in. */
const isNotStopping = sql`${sandboxes.state} <> 'Stopping'`
/** A column that the database keeps by itself: when an idle sandbox is to be paused. */
const idleAt = sql<number>`idle_at`

export class DeadlineStore {
  readonly #orm: Database['orm']

  constructor({ orm }: Database) {
    this.#orm = orm
  }

  /** Ids whose time is over and whose removal has not begun, the most overdue first; `except` leaves out tenants. */
  due(now: number, limit: number, except: string[] = []): string[] {
    return this.#orm
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(
        and(isNotNull(sandboxes.expiresAt), isNotStopping, lte(sandboxes.expiresAt, now), without(except)),
      )
      .orderBy(asc(sandboxes.expiresAt))
      .limit(limit)
      .all()
      .map(({ id }) => id)
  }

  /** Ids of those that have been idle for as long as they may, the longest idle first. */
  dueIdle(now: number, limit: number, except: string[] = []): string[] {
    return this.#orm
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(and(isNotNull(idleAt), lte(idleAt, now), without(except)))
      .orderBy(asc(idleAt))
      .limit(limit)
      .all()
      .map(({ id }) => id)
  }

  /** The earliest deadlines: at most `limit` of those that end a sandbox and as many of those that pause one. */
  next(limit: number, except: string[] = []): { id: string; at: number }[] {
    const ends = this.#orm
      .select({ id: sandboxes.id, at: sql<number>`${sandboxes.expiresAt}` })
      .from(sandboxes)
      .where(and(isNotNull(sandboxes.expiresAt), isNotStopping, without(except)))
      .orderBy(asc(sandboxes.expiresAt))
      .limit(limit)
      .all()
    const pauses = this.#orm
      .select({ id: sandboxes.id, at: idleAt })
      .from(sandboxes)
      .where(and(isNotNull(idleAt), without(except)))
      .orderBy(asc(idleAt))
      .limit(limit)
      .all()
    return [...ends, ...pauses]
  }

  /** Moves every deadline by as much as the wall clock has jumped, so that each is as far away as before. */
  shift(byMs: number): void {
    this.#orm.run(sql`UPDATE sandboxes SET
      expires_at = min(expires_at + ${byMs}, ${LAST_MOMENT}),
      active_at = CASE WHEN idle_seconds IS NULL THEN active_at ELSE coalesce(active_at, last_transition_at) + ${byMs} END
      WHERE expires_at IS NOT NULL OR idle_seconds IS NOT NULL`)
  }
}

function without(tenants: string[]): SQL | undefined {
  return tenants.length === 0 ? undefined : notInArray(sandboxes.tenant, tenants)
}

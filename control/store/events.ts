// What happened to sandboxes, in the order in which it was written: the history of one, and the stream of all. An event is
// written in the transaction of the change that it tells of, so neither is there without the other.

import { and, asc, desc, eq, gt, max, min, type SQL, sql } from 'drizzle-orm'
import type { Database } from './database.ts'
import { events } from './schema.ts'

export type StoredEvent = typeof events.$inferSelect
export type NewEvent = Omit<typeof events.$inferInsert, 'id'>

/** At most this many changes of state of one sandbox are kept. */
const MAX_STATES = 200

export class EventLog {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  append(event: NewEvent): void {
    const { orm } = this.#database
    orm.insert(events).values(event).run()
    if (event.type !== 'state') return
    orm.run(sql`DELETE FROM events WHERE sandbox_id = ${event.sandboxId} AND type = 'state' AND id <= (
      SELECT id FROM events WHERE sandbox_id = ${event.sandboxId} AND type = 'state'
      ORDER BY id DESC LIMIT 1 OFFSET ${MAX_STATES})`)
  }

  /** The newest events of one sandbox, the newest last; `type` leaves out all others. */
  of(sandboxId: string, { limit, type }: { limit: number; type?: StoredEvent['type'] }): StoredEvent[] {
    return this.#database.orm
      .select()
      .from(events)
      .where(and(eq(events.sandboxId, sandboxId), type && eq(events.type, type)))
      .orderBy(desc(events.id))
      .limit(limit)
      .all()
      .reverse()
  }

  /** Events after `id`, the oldest first; of one tenant, or of all. */
  after(
    id: number,
    { tenant, sandboxId, limit }: { tenant?: string; sandboxId?: string; limit: number },
  ): StoredEvent[] {
    const conditions: SQL[] = [gt(events.id, id)]
    if (tenant !== undefined) conditions.push(eq(events.tenant, tenant))
    if (sandboxId !== undefined) conditions.push(eq(events.sandboxId, sandboxId))
    return this.#database.orm
      .select()
      .from(events)
      .where(and(...conditions))
      .orderBy(asc(events.id))
      .limit(limit)
      .all()
  }

  /** The ids of the oldest and the newest event that are kept; 0 when there is none. */
  range(): { oldest: number; newest: number } {
    const found = this.#database.orm
      .select({ oldest: min(events.id), newest: max(events.id) })
      .from(events)
      .get()
    return { oldest: found?.oldest ?? 0, newest: found?.newest ?? 0 }
  }

  /** Removes at most `limit` events from before `at`, the oldest first; how many there were. A batch at a time keeps others from waiting. */
  prune(at: number, limit: number): number {
    return this.#database.orm.run(
      sql`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < ${at} ORDER BY at LIMIT ${limit})`,
    ).changes
  }
}

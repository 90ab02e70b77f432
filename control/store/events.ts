// What happened to sandboxes, in the order in which it was written: the history of one, and the stream of all. An event is
// written in the transaction of the change that it tells of, so neither is there without the other.

import type { Statement } from 'better-sqlite3'
import { and, asc, desc, eq, gt, min, type SQL, sql } from 'drizzle-orm'
import type { Database } from './database.ts'
import { type EventType, events } from './schema.ts'

export type StoredEvent = typeof events.$inferSelect
export type NewEvent = Omit<typeof events.$inferInsert, 'id'>

/** Of what can happen to one sandbox again and again, so many of each kind are kept. */
const MAX_REPEATS = 200
const REPEATED: ReadonlySet<EventType> = new Set(['state', 'renewed', 'metadata', 'snapshot'])

export class EventLog {
  readonly #database: Database
  // Prepared once: every change of a sandbox is an event.
  readonly #insert: Statement<NewEvent>
  readonly #trim: Statement<Pick<NewEvent, 'sandboxId' | 'type'>>

  constructor(database: Database) {
    this.#database = database
    this.#insert = database.raw.prepare(
      `INSERT INTO events (at, tenant, sandbox_id, type, state, reason, message)
        VALUES (@at, @tenant, @sandboxId, @type, @state, @reason, @message)`,
    )
    this.#trim = database.raw.prepare(
      `DELETE FROM events WHERE sandbox_id = @sandboxId AND type = @type AND id <= (
        SELECT id FROM events WHERE sandbox_id = @sandboxId AND type = @type
        ORDER BY id DESC LIMIT 1 OFFSET ${MAX_REPEATS})`,
    )
  }

  append({ state = null, reason = null, message = null, ...event }: NewEvent): void {
    this.#insert.run({ ...event, state, reason, message })
    if (REPEATED.has(event.type)) this.#trim.run({ sandboxId: event.sandboxId, type: event.type })
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

  /** Whether anybody could have heard of a sandbox. */
  hasAny(sandboxId: string): boolean {
    return this.of(sandboxId, { limit: 1 }).length > 0
  }

  /** Events after `id`, the oldest first; of one tenant, or of all. */
  after(
    id: number,
    { tenant, sandboxId, limit }: { tenant?: string; sandboxId?: string; limit: number },
  ): StoredEvent[] {
    const conditions: SQL[] = [gt(events.id, id)]
    if (sandboxId !== undefined) conditions.push(eq(events.sandboxId, sandboxId))
    // The plus keeps SQLite from looking for one sandbox among all that its tenant has.
    if (tenant !== undefined)
      conditions.push(
        sandboxId === undefined ? eq(events.tenant, tenant) : sql`+${events.tenant} = ${tenant}`,
      )
    return this.#database.orm
      .select()
      .from(events)
      .where(and(...conditions))
      .orderBy(asc(events.id))
      .limit(limit)
      .all()
  }

  /**
   * The ids of the oldest event that is kept, and of the newest that there ever was. None is kept when the oldest is the one
   * that comes next.
   */
  range(): { oldest: number; newest: number } {
    const { orm } = this.#database
    const ever = orm.get<{ seq: number } | undefined>(
      sql`SELECT seq FROM sqlite_sequence WHERE name = 'events'`,
    )
    const newest = ever?.seq ?? 0
    const kept = orm
      .select({ oldest: min(events.id) })
      .from(events)
      .get()
    return { oldest: kept?.oldest ?? newest + 1, newest }
  }
}

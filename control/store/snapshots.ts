// The rows of snapshots. A step is taken by one statement that names the state it leads from, so of two that come at once one wins.

import { and, asc, count, desc, eq, inArray, notExists, or, type SQL, sql } from 'drizzle-orm'
import type { SnapshotState } from '../../lib/api/snapshots.ts'
import type { Database } from './database.ts'
import { sandboxes, snapshots, unknownSnapshots } from './schema.ts'

export type SnapshotRow = typeof snapshots.$inferSelect

export type SnapshotFilter = {
  /** Absent: of all. */
  tenant?: string
  sandboxId?: string
  name?: string
  /** Any of these; absent means all, an empty list means none. */
  states?: SnapshotState[]
  limit: number
  offset: number
}

export type SnapshotChange = Partial<
  Pick<
    SnapshotRow,
    'state' | 'reason' | 'message' | 'sizeBytes' | 'digest' | 'parent' | 'inFork' | 'lastTransitionAt'
  >
>

export class SnapshotStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  insert(row: SnapshotRow): SnapshotRow {
    return this.#database.orm.insert(snapshots).values(row).returning().get()
  }

  get(id: string): SnapshotRow | undefined {
    return this.#database.orm.select().from(snapshots).where(eq(snapshots.id, id)).get()
  }

  /** Changes a snapshot that is in one of the states `from`; undefined when it is in none of them, or gone. */
  move(id: string, from: readonly SnapshotState[], change: SnapshotChange): SnapshotRow | undefined {
    return this.#database.orm
      .update(snapshots)
      .set(change)
      .where(and(eq(snapshots.id, id), inArray(snapshots.state, [...from])))
      .returning()
      .get()
  }

  /** As `move`, for one that no sandbox was made from. */
  moveUnused(id: string, from: readonly SnapshotState[], change: SnapshotChange): SnapshotRow | undefined {
    return this.#database.orm
      .update(snapshots)
      .set(change)
      .where(and(eq(snapshots.id, id), inArray(snapshots.state, [...from]), notExists(this.#users())))
      .returning()
      .get()
  }

  /**
   * Deletes a row. What lies upon the snapshot keeps its layer, so from now on that belongs to the oldest of those, and they lie upon
   * what it lay upon.
   */
  delete(id: string): boolean {
    const { orm } = this.#database
    return this.#database.transact(() => {
      const gone = orm.delete(snapshots).where(eq(snapshots.id, id)).returning().get()
      if (!gone) return false
      const above = orm
        .select({ id: snapshots.id, sizeBytes: snapshots.sizeBytes })
        .from(snapshots)
        .where(eq(snapshots.parent, id))
        .orderBy(asc(snapshots.createdAt), asc(snapshots.id))
        .all()
      const heir = above.find(({ sizeBytes }) => sizeBytes !== null)
      if (heir)
        orm
          .update(snapshots)
          .set({ sizeBytes: (heir.sizeBytes ?? 0) + (gone.sizeBytes ?? 0) })
          .where(eq(snapshots.id, heir.id))
          .run()
      if (above.length > 0)
        orm.update(snapshots).set({ parent: gone.parent }).where(eq(snapshots.parent, id)).run()
      return true
    })
  }

  /** One page, newest first, and how many there are in all. Hidden ones are left out. */
  list({ tenant, sandboxId, name, states, limit, offset }: SnapshotFilter): {
    rows: SnapshotRow[]
    total: number
  } {
    const { orm } = this.#database
    const conditions: SQL[] = [eq(snapshots.hidden, false)]
    if (tenant !== undefined) conditions.push(eq(snapshots.tenant, tenant))
    if (sandboxId !== undefined) conditions.push(eq(snapshots.sandboxId, sandboxId))
    if (name !== undefined) conditions.push(eq(snapshots.name, name))
    if (states) conditions.push(states.length === 0 ? sql`0` : inArray(snapshots.state, states))
    const where = and(...conditions)
    const total = orm.select({ total: count() }).from(snapshots).where(where).get()?.total ?? 0
    if (total <= offset) return { rows: [], total }
    const rows = orm
      .select()
      .from(snapshots)
      .where(where)
      .orderBy(desc(snapshots.createdAt), desc(snapshots.id))
      .limit(limit)
      .offset(offset)
      .all()
    return { rows, total }
  }

  /** Every row, hidden ones too, the oldest first. */
  all(): SnapshotRow[] {
    return this.#database.orm
      .select()
      .from(snapshots)
      .orderBy(asc(snapshots.createdAt), asc(snapshots.id))
      .all()
  }

  /** Those of a state, the oldest first. */
  inState(state: SnapshotState): SnapshotRow[] {
    return this.#database.orm
      .select()
      .from(snapshots)
      .where(eq(snapshots.state, state))
      .orderBy(asc(snapshots.createdAt), asc(snapshots.id))
      .all()
  }

  /** How many of a tenant are in these states, hidden ones too. */
  count(tenant: string, states: readonly SnapshotState[]): number {
    return (
      this.#database.orm
        .select({ total: count() })
        .from(snapshots)
        .where(and(eq(snapshots.tenant, tenant), inArray(snapshots.state, [...states])))
        .get()?.total ?? 0
    )
  }

  /** Those of which a fork makes sandboxes. */
  inFork(): string[] {
    const found = this.#database.orm
      .select({ id: snapshots.id })
      .from(snapshots)
      .where(eq(snapshots.inFork, true))
    return found.all().map(({ id }) => id)
  }

  /** The sandboxes that were made from one, by id. */
  usersOf(id: string): string[] {
    const found = this.#database.orm
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(eq(sandboxes.snapshotId, id))
    return found.all().map((row) => row.id)
  }

  /** Hidden ones that no sandbox was made from, or that came to nothing. */
  unused(): SnapshotRow[] {
    return this.#database.orm
      .select()
      .from(snapshots)
      .where(
        and(
          eq(snapshots.hidden, true),
          or(eq(snapshots.state, 'Ready'), eq(snapshots.state, 'Failed')),
          notExists(this.#users()),
        ),
      )
      .all()
  }

  /**
   * Notes which ones the runtime has without a row; others are forgotten. Gives those that are noted for the first time, and those that
   * were so before `since`.
   */
  noteUnknown(
    ids: readonly string[],
    { at, since }: { at: number; since: number },
  ): { fresh: string[]; old: string[] } {
    const { orm } = this.#database
    return this.#database.transact(() => {
      orm
        .delete(unknownSnapshots)
        .where(sql`${unknownSnapshots.id} NOT IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`)
        .run()
      const seen = new Map(
        orm
          .select()
          .from(unknownSnapshots)
          .all()
          .map(({ id, seenAt }) => [id, seenAt]),
      )
      const fresh = ids.filter((id) => !seen.has(id))
      for (const id of fresh) orm.insert(unknownSnapshots).values({ id, seenAt: at }).run()
      return { fresh, old: ids.filter((id) => (seen.get(id) ?? at) <= since) }
    })
  }

  #users() {
    return this.#database.orm
      .select({ one: sql`1` })
      .from(sandboxes)
      .where(eq(sandboxes.snapshotId, snapshots.id))
  }
}

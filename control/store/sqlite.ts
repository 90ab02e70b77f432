// The state of every sandbox in one SQLite database (design D5). WAL with synchronous=NORMAL: a commit is in the operating
// system's hands when a call returns, so it survives SIGKILL of this process at any moment; a power cut may lose the last
// ones, and takes the sandboxes with it anyway. Every change of a row is told to the watchers after it is committed, which
// is how the routes feed and the deadline clock know.

import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { and, asc, count, desc, eq, inArray, isNotNull, lte, min, ne, type SQL, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import type { SandboxState } from '../../lib/api/lifecycle.ts'
import { migrate, sortMigrations } from './migrate.ts'
import { labels, sandboxes, transitions } from './schema.ts'

export type SandboxRow = typeof sandboxes.$inferSelect
export type SandboxChange = Partial<Omit<SandboxRow, 'id' | 'createdAt'>>
export type Transition = Omit<typeof transitions.$inferSelect, 'sandboxId'>

export type ListFilter = {
  /** Any of these; absent means all, an empty list means none. */
  states?: SandboxState[]
  /** All of these. */
  labels?: [string, string][]
  limit: number
  offset: number
}

/** What happened to one sandbox; `row` is absent when it is gone. */
export type StoreEvent = { id: string; row?: SandboxRow }

/** At most this many transitions of one sandbox are kept. */
const MAX_TRANSITIONS = 200

export class Store {
  readonly #database: Database.Database
  readonly #db
  readonly #watchers = new Set<(event: StoreEvent) => void>()

  /** `path` may be `:memory:`. `migrationsDir` holds the SQL files. */
  constructor({ path, migrationsDir }: { path: string; migrationsDir: string }) {
    this.#database = new Database(path, { timeout: 5000 })
    try {
      if (path !== ':memory:') chmodSync(path, 0o600)
      this.#database.pragma('journal_mode = WAL')
      this.#database.pragma('synchronous = NORMAL')
      this.#database.pragma('foreign_keys = ON')
      const files = readdirSync(migrationsDir).filter((name) => name.endsWith('.sql'))
      migrate(
        this.#database,
        sortMigrations(files.map((name) => ({ name, sql: readFileSync(join(migrationsDir, name), 'utf8') }))),
      )
    } catch (error) {
      this.#database.close()
      throw error
    }
    this.#db = drizzle(this.#database)
  }

  /** Calls `watcher` after every change, until the returned function is called. */
  watch(watcher: (event: StoreEvent) => void): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  insert(row: SandboxRow): void {
    this.#transact(() => {
      this.#db.insert(sandboxes).values(row).run()
      this.#putLabels(row.id, row.metadata)
      this.#putTransition(row)
    })
    this.#tell({ id: row.id, row })
  }

  /** The row, hidden ones too. */
  get(id: string): SandboxRow | undefined {
    return this.#db.select().from(sandboxes).where(eq(sandboxes.id, id)).get()
  }

  /** Changes a row and returns it, or undefined when there is none. */
  update(id: string, change: SandboxChange): SandboxRow | undefined {
    return this.change(id, () => change)
  }

  /** Reads, decides and writes in one transaction; `decide` returns the change, or undefined for none. */
  change(id: string, decide: (row: SandboxRow) => SandboxChange | undefined): SandboxRow | undefined {
    let changed = false
    const row = this.#transact(() => {
      const before = this.get(id)
      const change = before && decide(before)
      if (!before || !change) return before
      changed = true
      const updated = this.#db.update(sandboxes).set(change).where(eq(sandboxes.id, id)).returning().get()
      if (change.metadata) {
        this.#db.delete(labels).where(eq(labels.sandboxId, id)).run()
        this.#putLabels(id, change.metadata)
      }
      if (updated && change.state) this.#putTransition(updated)
      return updated
    })
    if (row && changed) this.#tell({ id, row })
    return row
  }

  delete(id: string): boolean {
    const gone = this.#db.delete(sandboxes).where(eq(sandboxes.id, id)).run().changes > 0
    if (gone) this.#tell({ id })
    return gone
  }

  /** One page, newest first, and how many there are in all. Hidden rows are left out. */
  list({ states, labels: wanted = [], limit, offset }: ListFilter): { rows: SandboxRow[]; total: number } {
    const conditions: SQL[] = [eq(sandboxes.hidden, false)]
    if (states) conditions.push(states.length === 0 ? sql`0` : inArray(sandboxes.state, states))
    for (const [key, value] of wanted) {
      conditions.push(
        inArray(
          sandboxes.id,
          this.#db
            .select({ id: labels.sandboxId })
            .from(labels)
            .where(and(eq(labels.key, key), eq(labels.value, value))),
        ),
      )
    }
    const where = and(...conditions)
    const total = this.#db.select({ total: count() }).from(sandboxes).where(where).get()?.total ?? 0
    if (total <= offset) return { rows: [], total }
    const rows = this.#db
      .select()
      .from(sandboxes)
      .where(where)
      .orderBy(desc(sandboxes.createdAt), desc(sandboxes.id))
      .limit(limit)
      .offset(offset)
      .all()
    return { rows, total }
  }

  /** Every row, hidden ones too. */
  all(): SandboxRow[] {
    return this.#db.select().from(sandboxes).all()
  }

  /** Ids whose time is over and whose removal has not begun, the most overdue first. */
  due(now: number, limit: number): string[] {
    return this.#db
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(
        and(isNotNull(sandboxes.expiresAt), ne(sandboxes.state, 'Stopping'), lte(sandboxes.expiresAt, now)),
      )
      .orderBy(asc(sandboxes.expiresAt))
      .limit(limit)
      .all()
      .map(({ id }) => id)
  }

  /** The earliest deadline of all, if there is one. */
  nextDeadline(): number | undefined {
    const found = this.#db
      .select({ at: min(sandboxes.expiresAt) })
      .from(sandboxes)
      .where(and(isNotNull(sandboxes.expiresAt), ne(sandboxes.state, 'Stopping')))
      .get()
    return found?.at ?? undefined
  }

  /** The states that a sandbox went through, the newest last. */
  history(id: string, limit: number): Transition[] {
    return this.#db
      .select({
        at: transitions.at,
        state: transitions.state,
        reason: transitions.reason,
        message: transitions.message,
      })
      .from(transitions)
      .where(eq(transitions.sandboxId, id))
      .orderBy(desc(transitions.at), desc(sql`rowid`))
      .limit(limit)
      .all()
      .reverse()
  }

  close(): void {
    this.#watchers.clear()
    this.#database.close()
  }

  #transact<T>(work: () => T): T {
    return this.#database.transaction(work).immediate()
  }

  #putLabels(sandboxId: string, metadata: Record<string, string>): void {
    const rows = Object.entries(metadata).map(([key, value]) => ({ sandboxId, key, value }))
    // SQLite binds at most 32,766 values in one statement.
    for (let at = 0; at < rows.length; at += 5000)
      this.#db
        .insert(labels)
        .values(rows.slice(at, at + 5000))
        .run()
  }

  #putTransition({ id, state, reason, message, lastTransitionAt }: SandboxRow): void {
    this.#db.insert(transitions).values({ sandboxId: id, at: lastTransitionAt, state, reason, message }).run()
    this.#db.run(sql`DELETE FROM transitions WHERE sandbox_id = ${id} AND rowid <= (
      SELECT rowid FROM transitions WHERE sandbox_id = ${id} ORDER BY rowid DESC LIMIT 1 OFFSET ${MAX_TRANSITIONS})`)
  }

  #tell(event: StoreEvent): void {
    for (const watcher of this.#watchers) watcher(event)
  }
}

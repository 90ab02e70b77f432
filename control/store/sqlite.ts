// The rows of sandboxes. Every change of one is told to the watchers after it is committed, which is how the routes feed and the
// deadline clock know.

import { gunzipSync, gzipSync } from 'node:zlib'
import type { Statement } from 'better-sqlite3'
import {
  and,
  asc,
  count,
  desc,
  eq,
  getTableColumns,
  inArray,
  isNotNull,
  lte,
  type SQL,
  sql,
} from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type { SandboxState } from '../../lib/api/lifecycle.ts'
import { LAST_MOMENT } from '../clock.ts'
import { type Database, type DatabaseOptions, openDatabase } from './database.ts'
import { EventLog, type NewEvent } from './events.ts'
import { type OnceMark, OnceStore } from './once.ts'
import { labels, pastSandboxes, sandboxes } from './schema.ts'

export type SandboxRow = typeof sandboxes.$inferSelect
export type NewSandboxRow = typeof sandboxes.$inferInsert
export type PastSandbox = typeof pastSandboxes.$inferSelect
export type SandboxChange = Partial<Omit<SandboxRow, 'id' | 'createdAt' | 'tenant'>>
/** What a claim writes into a sandbox that a pool has made. */
export type TakenValues = SandboxChange & { createdAt: number }
/** One step in the life of a sandbox. */
export type Transition = { at: number; state: SandboxState; reason: string | null; message: string | null }

export type ListFilter = {
  /** Absent: of all. */
  tenant?: string
  /** Any of these; absent means all, an empty list means none. */
  states?: SandboxState[]
  /** All of these. */
  labels?: [string, string][]
  limit: number
  offset: number
}

/** What happened to one sandbox; `row` is absent when it is gone. */
export type StoreEvent = { id: string; row?: SandboxRow }

/** What of a row is compared with what the runtime has. */
export type Standing = Pick<SandboxRow, 'id' | 'state' | 'address'>

/** As it stands in the index of deadlines, which is used only when no value has to be filled in. */
const isNotStopping = sql`${sandboxes.state} <> 'Stopping'`
/** A column that the database keeps by itself: when an idle sandbox is to be paused. */
const idleAt = sql<number>`idle_at`

const COLUMNS: Record<string, SQLiteColumn> = getTableColumns(sandboxes)

export class Store {
  readonly database: Database
  readonly events: EventLog
  /** Which creates were sent with an Idempotency-Key. */
  readonly once: OnceStore
  readonly #db
  readonly #prepared
  readonly #updates = new Map<string, Statement<Record<string, unknown>>>()
  readonly #watchers = new Set<(event: StoreEvent) => void>()

  constructor(options: DatabaseOptions) {
    this.database = openDatabase(options)
    this.events = new EventLog(this.database)
    this.once = new OnceStore(this.database)
    this.#db = this.database.orm
    this.#prepared = prepareAll(this.database)
  }

  /** Calls `watcher` after every change, until the returned function is called. */
  watch(watcher: (event: StoreEvent) => void): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** Writes a new row, and the key that asked for it; what is left out has its default. */
  insert(values: NewSandboxRow, mark?: OnceMark): SandboxRow {
    const row = this.database.transact(() => {
      const inserted = this.#insert(values)
      if (mark) this.once.note(mark, inserted)
      this.#putLabels(inserted.id, inserted.metadata)
      this.#note(inserted, 'created', inserted.createdAt)
      this.#noteState(inserted)
      return inserted
    })
    this.#tell({ id: row.id, row })
    return row
  }

  /** The row, hidden ones too. */
  get(id: string): SandboxRow | undefined {
    return this.#prepared.get.get({ id })
  }

  /** Changes a row and returns it, or undefined when there is none. */
  update(id: string, change: SandboxChange): SandboxRow | undefined {
    return this.change(id, () => change)
  }

  /** Reads, decides and writes in one transaction; `decide` returns the change, or undefined for none. */
  change(
    id: string,
    decide: (row: SandboxRow) => SandboxChange | undefined,
    note?: { type: 'renewed' | 'metadata'; at: number },
  ): SandboxRow | undefined {
    let changed = false
    const row = this.database.transact(() => {
      const before = this.get(id)
      const change = before && decide(before)
      if (!before || !change) return before
      changed = true
      const after = this.#write(id, change)
      if (after && note) this.#note(after, note.type, note.at)
      return after
    })
    if (row && changed) this.#tell({ id, row })
    return row
  }

  /**
   * Takes the oldest sandbox that a pool keeps warm out of it, and writes what it is from now on. It stays hidden until
   * `reveal`. One transaction, so none is given out twice.
   */
  takeWarm(
    { tenant, pool, revision }: { tenant: string; pool: string; revision: string },
    values: TakenValues,
  ): SandboxRow | undefined {
    const row = this.database.transact(() => {
      const found = this.#db
        .select({ id: sandboxes.id })
        .from(sandboxes)
        .where(
          and(
            eq(sandboxes.pool, pool),
            eq(sandboxes.warm, true),
            eq(sandboxes.tenant, tenant),
            eq(sandboxes.poolRevision, revision),
            eq(sandboxes.state, 'Running'),
          ),
        )
        .orderBy(asc(sandboxes.createdAt), asc(sandboxes.id))
        .limit(1)
        .get()
      return found && this.#write(found.id, { ...values, warm: false })
    })
    if (row) this.#tell({ id: row.id, row })
    return row
  }

  /** Lets clients know of a sandbox that was taken from a pool; undefined when it does not run any more. */
  reveal(id: string, at: number, mark?: OnceMark): SandboxRow | undefined {
    const row = this.database.transact(() => {
      if (this.get(id)?.state !== 'Running') return undefined
      const revealed = this.#write(id, { hidden: false })
      if (!revealed) return undefined
      if (mark) this.once.note(mark, revealed)
      this.#note(revealed, 'claimed', at)
      this.#note(revealed, 'state', at)
      return revealed
    })
    if (row) this.#tell({ id, row })
    return row
  }

  /** Removes a row; whoever reads the events learns of it. When clients knew of it, what is needed to tell of it later is kept. */
  delete(id: string, end: { at: number; isKnown: boolean; log?: Uint8Array }): boolean {
    const gone = this.database.transact(() => {
      const row = this.#db.delete(sandboxes).where(eq(sandboxes.id, id)).returning().get()
      // What nobody was told of can be asked for again.
      if (!end.isKnown) this.once.forget(id)
      if (row) this.#note(row, 'deleted', end.at)
      if (row && end.isKnown) {
        const { tenant, image, createdAt, reason, message } = row
        this.#db
          .insert(pastSandboxes)
          .values({
            id,
            tenant,
            image,
            createdAt,
            endedAt: end.at,
            reason,
            message,
            log: end.log ? gzipSync(end.log) : null,
          })
          .onConflictDoNothing()
          .run()
      }
      return row !== undefined
    })
    if (gone) this.#tell({ id })
    return gone
  }

  /** One page, newest first, and how many there are in all. Hidden rows are left out. */
  list({ tenant, states, labels: wanted = [], limit, offset }: ListFilter): {
    rows: SandboxRow[]
    total: number
  } {
    const conditions: SQL[] = [eq(sandboxes.hidden, false)]
    if (tenant !== undefined) conditions.push(eq(sandboxes.tenant, tenant))
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

  /** How every sandbox stands, hidden ones too, without what only its own reader needs. */
  standings(): Standing[] {
    return this.#prepared.standings.all()
  }

  /** Ids whose time is over and whose removal has not begun, the most overdue first. */
  due(now: number, limit: number): string[] {
    return this.#db
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(and(isNotNull(sandboxes.expiresAt), isNotStopping, lte(sandboxes.expiresAt, now)))
      .orderBy(asc(sandboxes.expiresAt))
      .limit(limit)
      .all()
      .map(({ id }) => id)
  }

  /** Ids of those that have been idle for as long as they may, the longest idle first. */
  dueIdle(now: number, limit: number): string[] {
    return this.#db
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(and(isNotNull(idleAt), lte(idleAt, now)))
      .orderBy(asc(idleAt))
      .limit(limit)
      .all()
      .map(({ id }) => id)
  }

  /** The earliest deadlines: at most `limit` of those that end a sandbox and as many of those that pause one. */
  nextDeadlines(limit: number): { id: string; at: number }[] {
    const ends = this.#db
      .select({ id: sandboxes.id, at: sql<number>`${sandboxes.expiresAt}` })
      .from(sandboxes)
      .where(and(isNotNull(sandboxes.expiresAt), isNotStopping))
      .orderBy(asc(sandboxes.expiresAt))
      .limit(limit)
      .all()
    const pauses = this.#db
      .select({ id: sandboxes.id, at: idleAt })
      .from(sandboxes)
      .where(isNotNull(idleAt))
      .orderBy(asc(idleAt))
      .limit(limit)
      .all()
    return [...ends, ...pauses]
  }

  /** Moves every deadline by as much as the wall clock has jumped, so that each is as far away as before. */
  shiftDeadlines(byMs: number): void {
    this.#db.run(sql`UPDATE sandboxes SET
      expires_at = min(expires_at + ${byMs}, ${LAST_MOMENT}),
      active_at = CASE WHEN idle_seconds IS NULL THEN active_at ELSE coalesce(active_at, last_transition_at) + ${byMs} END
      WHERE expires_at IS NOT NULL OR idle_seconds IS NOT NULL`)
  }

  /** The states that a sandbox went through, the newest last; those of one that is gone too. */
  history(id: string, limit: number): Transition[] {
    return this.events
      .of(id, { limit, type: 'state' })
      .flatMap(({ at, state, reason, message }) => (state === null ? [] : [{ at, state, reason, message }]))
  }

  /** What is kept of a sandbox that is gone. */
  past(id: string): PastSandbox | undefined {
    return this.#db.select().from(pastSandboxes).where(eq(pastSandboxes.id, id)).get()
  }

  /** The end of what the entrypoint of a sandbox that is gone had written. */
  pastLog(id: string): Buffer | undefined {
    const log = this.past(id)?.log
    return log ? gunzipSync(log) : undefined
  }

  close(): void {
    this.#watchers.clear()
    this.database.close()
  }

  #write(id: string, change: SandboxChange & { createdAt?: number }): SandboxRow | undefined {
    const values = Object.entries(change).filter(([, value]) => value !== undefined)
    if (values.length > 0) this.#updateOf(values.map(([name]) => name)).run({ ...encode(values), rowId: id })
    const row = this.get(id)
    if (change.metadata) {
      this.#db.delete(labels).where(eq(labels.sandboxId, id)).run()
      this.#putLabels(id, change.metadata)
    }
    if (row && change.state) this.#noteState(row)
    return row
  }

  #insert(values: NewSandboxRow): SandboxRow {
    const given: Record<string, unknown> = values
    const all = Object.entries(COLUMNS).map(([name, column]): [string, unknown] => [
      name,
      given[name] ?? column.default ?? null,
    ])
    this.#prepared.insert.run(encode(all))
    const row = this.get(values.id)
    if (!row) throw new Error(`The row of sandbox "${values.id}" is not there after it was written`)
    return row
  }

  /** The statement that writes these columns: a few sets of them come again and again. */
  #updateOf(names: string[]): Statement<Record<string, unknown>> {
    const key = names.join()
    let update = this.#updates.get(key)
    if (!update) {
      const changes = names.map((name) => `${COLUMNS[name]?.name} = @${name}`)
      update = this.database.raw.prepare(`UPDATE sandboxes SET ${changes.join()} WHERE id = @rowId`)
      this.#updates.set(key, update)
    }
    return update
  }

  #putLabels(sandboxId: string, metadata: Record<string, string>): void {
    for (const [key, value] of Object.entries(metadata)) this.#prepared.insertLabel.run(sandboxId, key, value)
  }

  #noteState(row: SandboxRow): void {
    this.#note(row, 'state', row.lastTransitionAt)
  }

  #note({ id, tenant, state, reason, message, warm }: SandboxRow, type: NewEvent['type'], at: number): void {
    // Nobody knows of it yet; for its owner it begins with the claim.
    if (warm) return
    this.events.append({ at, tenant, sandboxId: id, type, state, reason, message })
  }

  #tell(event: StoreEvent): void {
    for (const watcher of this.#watchers) watcher(event)
  }
}

/** What is asked all the time: built and compiled once. */
function prepareAll({ orm, raw }: Database) {
  const names = Object.keys(COLUMNS)
  return {
    get: orm
      .select()
      .from(sandboxes)
      .where(eq(sandboxes.id, sql.placeholder('id')))
      .prepare(),
    insert: raw.prepare<Record<string, unknown>>(
      `INSERT INTO sandboxes (${names.map((name) => COLUMNS[name]?.name).join()})
        VALUES (${names.map((name) => `@${name}`).join()})`,
    ),
    insertLabel: raw.prepare<[string, string, string]>(
      'INSERT INTO labels (sandbox_id, key, value) VALUES (?, ?, ?)',
    ),
    standings: raw.prepare<[], Standing>('SELECT id, state, address FROM sandboxes'),
  }
}

/** Values as the columns of these names keep them. */
function encode(values: [string, unknown][]): Record<string, unknown> {
  return Object.fromEntries(
    values.map(([name, value]) => [name, value === null ? null : COLUMNS[name]?.mapToDriverValue(value)]),
  )
}

// The state of control: the rows of sandboxes with what belongs to them. Every change of one is told to the watchers after it is
// committed, which is how the routes feed and the deadline clock know.

import { gunzipSync, gzipSync } from 'node:zlib'
import { and, count, desc, eq, inArray, type SQL, sql } from 'drizzle-orm'
import type { SandboxState } from '../../lib/api/lifecycle.ts'
import { Watchers } from '../watchers.ts'
import { type Database, type DatabaseOptions, openDatabase } from './database.ts'
import { DeadlineStore } from './deadlines.ts'
import { DomainStore } from './domains.ts'
import { EventLog, type NewEvent } from './events.ts'
import { type OnceMark, OnceStore } from './once.ts'
import {
  type NewSandboxRow,
  type SandboxChange,
  type SandboxRow,
  SandboxRows,
  type Standing,
  type TakenValues,
  type WarmKey,
} from './rows.ts'
import { labels, pastSandboxes, sandboxes } from './schema.ts'
import { ShareStore } from './shares.ts'
import { type VolumeClaim, VolumeStore } from './volumes.ts'

export type PastSandbox = typeof pastSandboxes.$inferSelect
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
export type StoreEvent = { id: string; tenant: string; row?: SandboxRow }

export class Store {
  readonly database: Database
  readonly events: EventLog
  /** Which creates were sent with an Idempotency-Key. */
  readonly once: OnceStore
  readonly deadlines: DeadlineStore
  readonly domains: DomainStore
  readonly shares: ShareStore
  readonly volumes: VolumeStore
  readonly #db
  readonly #rows
  readonly #watchers = new Watchers<[event: StoreEvent]>()

  constructor(options: DatabaseOptions) {
    this.database = openDatabase(options)
    this.events = new EventLog(this.database)
    this.once = new OnceStore(this.database)
    this.deadlines = new DeadlineStore(this.database)
    this.domains = new DomainStore(this.database)
    this.shares = new ShareStore(this.database)
    this.volumes = new VolumeStore(this.database)
    this.#db = this.database.orm
    this.#rows = new SandboxRows(this.database)
  }

  /** Calls `watcher` after every change, until the returned function is called. */
  watch(watcher: (event: StoreEvent) => void): () => void {
    return this.#watchers.add(watcher)
  }

  /** Writes a new row with what it mounts, and the key that asked for it; what is left out has its default. */
  insert(
    values: NewSandboxRow,
    {
      mark,
      volumes = [],
    }: { mark?: OnceMark | undefined; volumes?: readonly VolumeClaim[] | undefined } = {},
  ): SandboxRow {
    const row = this.database.transact(() => {
      const inserted = this.#rows.insert(values)
      this.volumes.claim(inserted, volumes)
      if (mark) this.once.note(mark, inserted)
      this.#note(inserted, 'created', inserted.createdAt)
      this.#noteState(inserted)
      return inserted
    })
    this.#tell(row)
    return row
  }

  /** The row, hidden ones too. */
  get(id: string): SandboxRow | undefined {
    return this.#rows.get(id)
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
    if (row && changed) this.#tell(row)
    return row
  }

  /**
   * Takes the oldest sandbox that a pool keeps warm out of it, and writes what it is from now on. It stays hidden until
   * `reveal`. One transaction, so none is given out twice.
   */
  takeWarm(of: WarmKey, values: TakenValues): SandboxRow | undefined {
    const row = this.database.transact(() => {
      const id = this.#rows.oldestWarm(of)
      // Its new owner is told of it by `reveal`.
      return id === undefined ? undefined : this.#write(id, { ...values, warm: false, acknowledged: false })
    })
    if (row) this.#tell(row)
    return row
  }

  /** Lets clients know of a sandbox that was taken from a pool; undefined when it does not run any more. */
  reveal(id: string, at: number, mark?: OnceMark): SandboxRow | undefined {
    const row = this.database.transact(() => {
      if (this.get(id)?.state !== 'Running') return undefined
      const revealed = this.#write(id, { hidden: false, acknowledged: true })
      if (!revealed) return undefined
      if (mark) this.once.note(mark, revealed)
      this.#note(revealed, 'claimed', at)
      this.#note(revealed, 'state', at)
      return revealed
    })
    if (row) this.#tell(row)
    return row
  }

  /** Removes a row; whoever reads the events learns of it. When clients knew of it, what is needed to tell of it later is kept. */
  delete(id: string, end: { at: number; isKnown: boolean; log?: Uint8Array }): boolean {
    const gone = this.database.transact(() => {
      const row = this.#db.delete(sandboxes).where(eq(sandboxes.id, id)).returning().get()
      // What nobody was told of can be asked for again.
      if (!end.isKnown) this.once.forget(id)
      if (row) this.volumes.markLeftOver()
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
      return row
    })
    if (gone) this.#watchers.tell({ id, tenant: gone.tenant })
    return gone !== undefined
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
    return this.#rows.standings()
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

  /** Lets the watchers know that something was written about a sandbox that is no change of its row. */
  tell({ id, tenant }: { id: string; tenant: string }): void {
    const row = this.get(id)
    this.#watchers.tell({ id, tenant, ...(row && { row }) })
  }

  close(): void {
    this.#watchers.clear()
    this.database.close()
  }

  #write(id: string, change: SandboxChange | TakenValues): SandboxRow | undefined {
    const row = this.#rows.update(id, change)
    if (row && change.state) {
      this.#noteState(row)
      if (change.state === 'Running') this.volumes.prove(id)
    }
    return row
  }

  #noteState(row: SandboxRow): void {
    this.#note(row, 'state', row.lastTransitionAt)
  }

  #note(row: SandboxRow, type: NewEvent['type'], at: number): void {
    const { id, tenant, state, reason, message } = row
    if (this.#isUnknown(row)) return
    this.events.append({ at, tenant, sandboxId: id, type, state, reason, message })
  }

  /** Whether nobody was ever told of it: for the owner of one that was warm it begins with the claim. */
  #isUnknown({ id, warm, pool, hidden, acknowledged }: SandboxRow): boolean {
    if (warm) return true
    // Taken from its pool and not revealed, or made for a pool's caller, who has heard of it by its events.
    return pool !== null && hidden && !acknowledged && !this.events.hasAny(id)
  }

  #tell(row: SandboxRow): void {
    this.#watchers.tell({ id: row.id, tenant: row.tenant, row })
  }
}

// The table of sandboxes with that of their labels, read and written by statements that are compiled once. What a change means to
// others is the business of sqlite.ts.

import type { Statement } from 'better-sqlite3'
import { and, asc, eq, getTableColumns, sql } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type { Database } from './database.ts'
import { labels, sandboxes } from './schema.ts'

export type SandboxRow = typeof sandboxes.$inferSelect
export type NewSandboxRow = typeof sandboxes.$inferInsert
export type SandboxChange = Partial<Omit<SandboxRow, 'id' | 'createdAt' | 'tenant'>>
/** What a claim writes into a sandbox that a pool has made. */
export type TakenValues = SandboxChange & { createdAt: number }
/** What of a row is compared with what the runtime has. */
export type Standing = Pick<SandboxRow, 'id' | 'state' | 'address'>

/** Sandboxes of one shape that a pool keeps warm. */
export type WarmKey = { tenant: string; pool: string; revision: string }

type Values = Record<string, unknown>

const COLUMNS: Record<string, SQLiteColumn> = getTableColumns(sandboxes)

export class SandboxRows {
  readonly #database: Database
  readonly #prepared
  readonly #updates = new Map<string, Statement<Values>>()

  constructor(database: Database) {
    this.#database = database
    this.#prepared = prepareAll(database)
  }

  get(id: string): SandboxRow | undefined {
    return this.#prepared.get.get({ id })
  }

  standings(): Standing[] {
    return this.#prepared.standings.all()
  }

  /** The id of the sandbox that a pool has kept warm for longest. */
  oldestWarm(of: WarmKey): string | undefined {
    return this.#prepared.oldestWarm.get(of)?.id
  }

  /** Writes a row with its labels; what is left out has its default. */
  insert(values: NewSandboxRow): SandboxRow {
    const given: Values = values
    const all = Object.entries(COLUMNS).map(([name, column]): [string, unknown] => [
      name,
      given[name] ?? column.default ?? null,
    ])
    this.#prepared.insert.run(encode(all))
    const row = this.get(values.id)
    if (!row) throw new Error(`The row of sandbox "${values.id}" is not there after it was written`)
    this.#putLabels(row.id, row.metadata)
    return row
  }

  /** Writes what changes of a row, and of its labels; the row as it is then, or undefined when there is none. */
  update(id: string, change: SandboxChange | TakenValues): SandboxRow | undefined {
    const values = Object.entries(change).filter(([, value]) => value !== undefined)
    if (values.length > 0) this.#updateOf(values.map(([name]) => name)).run({ ...encode(values), rowId: id })
    if (change.metadata) {
      this.#database.orm.delete(labels).where(eq(labels.sandboxId, id)).run()
      this.#putLabels(id, change.metadata)
    }
    return this.get(id)
  }

  /** The statement that writes these columns: a few sets of them come again and again. */
  #updateOf(names: string[]): Statement<Values> {
    const key = names.join()
    let update = this.#updates.get(key)
    if (!update) {
      const changes = names.map((name) => `${COLUMNS[name]?.name} = @${name}`)
      update = this.#database.raw.prepare(`UPDATE sandboxes SET ${changes.join()} WHERE id = @rowId`)
      this.#updates.set(key, update)
    }
    return update
  }

  #putLabels(sandboxId: string, metadata: Record<string, string>): void {
    for (const [key, value] of Object.entries(metadata)) this.#prepared.insertLabel.run(sandboxId, key, value)
  }
}

/** Finds the one of a `WarmKey` that can be claimed next. */
export function prepareOldestWarm({ orm }: Database) {
  return orm
    .select({ id: sandboxes.id })
    .from(sandboxes)
    .where(
      and(
        eq(sandboxes.pool, sql.placeholder('pool')),
        eq(sandboxes.warm, true),
        eq(sandboxes.tenant, sql.placeholder('tenant')),
        eq(sandboxes.poolRevision, sql.placeholder('revision')),
        eq(sandboxes.state, 'Running'),
      ),
    )
    .orderBy(asc(sandboxes.createdAt), asc(sandboxes.id))
    .limit(1)
    .prepare()
}

/** What is asked all the time. */
function prepareAll(database: Database) {
  const { orm, raw } = database
  const names = Object.keys(COLUMNS)
  return {
    get: orm
      .select()
      .from(sandboxes)
      .where(eq(sandboxes.id, sql.placeholder('id')))
      .prepare(),
    oldestWarm: prepareOldestWarm(database),
    insert: raw.prepare<Values>(
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
function encode(values: [string, unknown][]): Values {
  return Object.fromEntries(
    values.map(([name, value]) => [name, value === null ? null : COLUMNS[name]?.mapToDriverValue(value)]),
  )
}

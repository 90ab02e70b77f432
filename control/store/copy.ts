// A database as one file: copied while a program writes it, checked before it is trusted.

import Sqlite from 'better-sqlite3'
import { messageOf } from '../../lib/errors.ts'

/** What is known of a database that nobody has opened for work. */
export type DatabaseFacts = { schemaVersion: number; sandboxes: number }

/** So long another program may hold the database. */
const BUSY_TIMEOUT_MS = 10_000
/** After so many pages a copy lets others go on: a signal can end it. */
const PAGES_AT_ONCE = 2000

/**
 * Copies a database by SQLite's online backup, as it is at one moment, whatever is written meanwhile, into a file that needs no
 * other beside it.
 */
export async function copyDatabase(from: string, to: string): Promise<DatabaseFacts> {
  const source = new Sqlite(from, { fileMustExist: true, timeout: BUSY_TIMEOUT_MS })
  let facts: DatabaseFacts
  try {
    // The copy is made within this transaction; else SQLite would begin it anew after every change of another program.
    source.exec('BEGIN')
    facts = factsOf(source)
    await source.backup(to, { progress: () => PAGES_AT_ONCE })
    source.exec('COMMIT')
  } finally {
    source.close()
  }
  const copy = new Sqlite(to, { fileMustExist: true })
  try {
    copy.pragma('journal_mode = DELETE')
  } finally {
    copy.close()
  }
  return facts
}

/** Looks through a whole database that nobody uses. Throws with what is wrong with it. */
export function checkDatabase(path: string): DatabaseFacts {
  const database = new Sqlite(path, { fileMustExist: true, readonly: true })
  try {
    const problems = database.pragma('integrity_check(3)') as { integrity_check: string }[]
    const [first] = problems
    if (first?.integrity_check !== 'ok') throw new Error(`it is damaged: ${first?.integrity_check}`)
    const [dangling] = database.pragma('foreign_key_check') as { table: string; parent: string }[]
    if (dangling)
      throw new Error(`rows of "${dangling.table}" belong to rows of "${dangling.parent}" that are not there`)
    return factsOf(database)
  } catch (error) {
    if (error instanceof Sqlite.SqliteError)
      throw new Error(`it is damaged: ${messageOf(error)}`, { cause: error })
    throw error
  } finally {
    database.close()
  }
}

/** Takes what the log of a database that nobody uses holds into its file. Throws when that cannot be done. */
export function foldLog(path: string): void {
  const database = new Sqlite(path, { fileMustExist: true, timeout: 0 })
  try {
    database.pragma('wal_checkpoint(TRUNCATE)')
    database.pragma('journal_mode = DELETE')
  } finally {
    database.close()
  }
}

/**
 * Takes the keys of one database over into another, as they are there: what was revoked does not open again, and who was given a key
 * since keeps it. Keys that only the other one has stay. How many were changed or added.
 */
export function carryKeys(from: string, to: string): number {
  const source = new Sqlite(from, { fileMustExist: true, readonly: true })
  const target = new Sqlite(to, { fileMustExist: true })
  try {
    const columns = columnsOf(source, KEYS).filter((name) => columnsOf(target, KEYS).includes(name))
    if (columns.length === 0) return 0
    const read = `SELECT ${columns.join()} FROM ${KEYS}`
    const known = new Map(
      target
        .prepare<[], Key>(read)
        .all()
        .map((key) => [key.id, JSON.stringify(key)]),
    )
    const [update, insert] = [
      `UPDATE ${KEYS} SET ${columns.map((name) => `${name} = @${name}`).join()} WHERE id = @id`,
      `INSERT OR IGNORE INTO ${KEYS} (${columns.join()}) VALUES (${columns.map((name) => `@${name}`).join()})`,
    ].map((sql) => target.prepare<Key>(sql))
    // Changes first: a key that was rotated has given its name to its successor.
    const keys = source
      .prepare<[], Key>(read)
      .all()
      .filter((key) => known.get(key.id) !== JSON.stringify(key))
      .sort((one, other) => Number(known.has(other.id)) - Number(known.has(one.id)))
    const carry = (key: Key) => (known.has(key.id) ? update : insert)?.run(key).changes ?? 0
    return target.transaction(() => keys.reduce((count, key) => count + carry(key), 0))()
  } finally {
    source.close()
    target.close()
  }
}

const KEYS = 'api_keys'
type Key = { id: string; [column: string]: unknown }

function columnsOf(database: Sqlite.Database, table: string): string[] {
  return database
    .prepare<[string], { name: string }>('SELECT name FROM pragma_table_info(?)')
    .all(table)
    .map(({ name }) => name)
}

function factsOf(database: Sqlite.Database): DatabaseFacts {
  const schemaVersion = Number(database.pragma('user_version', { simple: true }))
  if (schemaVersion < 1 || !hasTable(database, 'sandboxes'))
    throw new Error('it is not a database of this program')
  const found = database.prepare<[], { count: number }>('SELECT count(*) AS count FROM sandboxes').get()
  return { schemaVersion, sandboxes: found?.count ?? 0 }
}

function hasTable(database: Sqlite.Database, name: string): boolean {
  return (
    database.prepare(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?`).get(name) !== undefined
  )
}

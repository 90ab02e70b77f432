// One SQLite file for all state. WAL with synchronous=NORMAL: a commit is in the operating system's hands when a
// call returns, so it survives SIGKILL of this process at any moment; a power cut may lose the last ones, and takes the
// sandboxes with it anyway.

import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { type BetterSQLite3Database, drizzle } from 'drizzle-orm/better-sqlite3'
import { messageOf } from '../../lib/errors.ts'
import { STORE_ADVICE, storeFailureOf } from './failure.ts'
import { migrate, sortMigrations } from './migrate.ts'
import { keepStatements } from './statements.ts'

export type DatabaseOptions = {
  /** `:memory:` for a database that nobody keeps. */
  path: string
  /** Holds the SQL files. */
  migrationsDir: string
}

export type Database = {
  raw: Sqlite.Database
  orm: BetterSQLite3Database
  /** Does everything or nothing; one within another belongs to the outer one. */
  transact<T>(work: () => T): T
  close(): void
}

/** Another program may be ending just now; once this one serves, waiting would hold up every request. */
const OPEN_TIMEOUT_MS = 5000
const BUSY_TIMEOUT_MS = 50
/**
 * A commit takes the log into the file, which waits for the disk, when the log has so many pages. The upkeep does that long
 * before, beside the requests; this is for when it cannot.
 */
const LONGEST_LOG_PAGES = 16_384
/** What the log's file is cut down to when it begins anew. To cut holds requests up for 10 ms, so what is usual stays. */
const KEPT_LOG_BYTES = 16 << 20

/**
 * Opens the database and brings it up to the newest migration. Throws with what helps when it cannot be used, and when a newer
 * program has made it.
 */
export function openDatabase(options: DatabaseOptions): Database {
  try {
    return open(options)
  } catch (error) {
    const failure = storeFailureOf(error)
    if (!failure) throw error
    throw new Error(
      `Cannot open the database "${options.path}", as ${STORE_ADVICE[failure]} (${messageOf(error)})`,
      { cause: error },
    )
  }
}

function open({ path, migrationsDir }: DatabaseOptions): Database {
  const raw = new Sqlite(path, { timeout: OPEN_TIMEOUT_MS })
  try {
    if (path !== ':memory:') chmodSync(path, 0o600)
    // Of effect on a new file only: see `shrink` in retention.ts.
    raw.pragma('auto_vacuum = INCREMENTAL')
    raw.pragma('journal_mode = WAL')
    raw.pragma(`wal_autocheckpoint = ${LONGEST_LOG_PAGES}`)
    raw.pragma(`journal_size_limit = ${KEPT_LOG_BYTES}`)
    raw.pragma('synchronous = NORMAL')
    raw.pragma('foreign_keys = ON')
    const files = readdirSync(migrationsDir).filter((name) => name.endsWith('.sql'))
    migrate(
      raw,
      sortMigrations(files.map((name) => ({ name, sql: readFileSync(join(migrationsDir, name), 'utf8') }))),
    )
    raw.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`)
  } catch (error) {
    raw.close()
    throw error
  }
  return {
    raw,
    orm: drizzle(keepStatements(raw)),
    transact: (work) => raw.transaction(work).immediate(),
    close: () => void raw.close(),
  }
}

/** Writes a number that is there already. Throws when the database cannot be read and written now. */
export function probe({ raw }: Database): void {
  raw.pragma(`user_version = ${Number(raw.pragma('user_version', { simple: true }))}`)
}

// SQLite compiles a statement each time one is prepared, which takes as long as running it. The same few are run all the time, so
// the last ones are kept.

import type Sqlite from 'better-sqlite3'

const KEPT = 256
/** A statement for many rows is as long as they are many, and hardly comes twice. */
const LONGEST = 8192

/** The same database, with statements that are prepared once. For callers that run what they have prepared at once. */
export function keepStatements(database: Sqlite.Database): Sqlite.Database {
  const kept = new Map<string, Sqlite.Statement>()
  const prepare = (sql: string): Sqlite.Statement => {
    const known = kept.get(sql)
    if (known) {
      // The newest stands last, the one that is given up first.
      kept.delete(sql)
      kept.set(sql, known)
      // Whoever had it before may have asked for rows as lists.
      return known.reader ? known.raw(false) : known
    }
    const statement = database.prepare(sql)
    if (sql.length > LONGEST) return statement
    kept.set(sql, statement)
    for (const oldest of kept.keys()) {
      if (kept.size <= KEPT) break
      kept.delete(oldest)
    }
    return statement
  }
  return Object.create(database, { prepare: { value: prepare } }) as Sqlite.Database
}

// Applies the SQL files of migrations/ in the order of their numbers, each in one transaction, forward only. SQLite's own
// `user_version` holds the number of the last one, so it changes with the tables or not at all.

import type { Database } from 'better-sqlite3'
import { messageOf } from '../../lib/errors.ts'

export type Migration = { number: number; name: string; sql: string }

/** The migrations among the files of a directory, sorted: `0001-name.sql`. Throws on a gap or a number used twice. */
export function sortMigrations(files: { name: string; sql: string }[]): Migration[] {
  const migrations = files
    .flatMap(({ name, sql }) => {
      const match = /^(\d{4})-[a-z0-9-]+\.sql$/.exec(name)
      return match ? [{ number: Number(match[1]), name, sql }] : []
    })
    .sort((a, b) => a.number - b.number)
  for (const [index, migration] of migrations.entries()) {
    if (migration.number !== index + 1)
      throw new Error(
        `Cannot use migration "${migration.name}": number ${index + 1} was expected in its place`,
      )
  }
  return migrations
}

/** Brings a database up to the newest migration. Refuses one that a newer version of this program has made. */
export function migrate(database: Database, migrations: Migration[]): void {
  const version = Number(database.pragma('user_version', { simple: true }))
  if (version > migrations.length)
    throw new Error(
      `Cannot open the database "${database.name}": it is of version ${version}, made by a newer program; this one knows ${migrations.length}`,
    )
  for (const { number, name, sql } of migrations.slice(version)) {
    try {
      database
        .transaction(() => {
          database.exec(sql)
          database.pragma(`user_version = ${number}`)
        })
        .immediate()
    } catch (error) {
      throw new Error(
        `Cannot bring the database "${database.name}" from version ${number - 1} to ${number} by ${name}; it is as it was: ${messageOf(error)}`,
        { cause: error },
      )
    }
  }
}

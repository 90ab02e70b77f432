// A database as an earlier version left it is brought up to date with everything in it.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, onTestFinished, test } from 'vitest'
import { migrate, sortMigrations } from '../../control/store/migrate.ts'
import { Store } from '../../control/store/sqlite.ts'
import { MIGRATIONS } from '../support/control-app.ts'

const ALL = sortMigrations(
  readdirSync(MIGRATIONS).map((name) => ({ name, sql: readFileSync(join(MIGRATIONS, name), 'utf8') })),
)

function pathOfNew(): string {
  const folder = mkdtempSync(join(tmpdir(), 'migrations-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'control.db')
}

test('from version 1: sandboxes go on, known to clients, with the history of their states', () => {
  const path = pathOfNew()
  const old = new Sqlite(path)
  migrate(old, ALL.slice(0, 1))
  const insert = old.prepare(
    `INSERT INTO sandboxes (id, state, image, entrypoint, env, metadata, extensions, limits, mounts, execd_token, egress_token,
      created_at, last_transition_at) VALUES (?, ?, 'debian', '["sleep"]', '{}', '{"a":"b"}', '{}', '{"nanoCpus":5}', '[]', 'e', 'g', 1, 2)`,
  )
  insert.run('running', 'Running')
  insert.run('pending', 'Pending')
  old.prepare(`INSERT INTO labels VALUES ('running', 'a', 'b')`).run()
  old
    .prepare(
      `INSERT INTO transitions VALUES ('running', 1, 'Pending', 'x', NULL), ('running', 2, 'Running', NULL, 'm')`,
    )
    .run()
  old.close()

  const store = new Store({ path, migrationsDir: MIGRATIONS })
  onTestFinished(() => store.close())
  expect(store.get('running')).toMatchObject({
    state: 'Running',
    acknowledged: true,
    tenant: 'default',
    metadata: { a: 'b' },
    limits: { nanoCpus: 5 },
    pool: null,
    warm: false,
  })
  expect(store.get('pending')?.acknowledged).toBe(false)
  expect(store.history('running', 9)).toEqual([
    { at: 1, state: 'Pending', reason: 'x', message: null },
    { at: 2, state: 'Running', reason: null, message: 'm' },
  ])
  expect(store.list({ labels: [['a', 'b']], limit: 9, offset: 0 }).total).toBe(1)
})

test.each(ALL.map((_, index) => index + 1))(
  'from version %i to the newest, and the result is the same as a new one',
  (version) => {
    const path = pathOfNew()
    const old = new Sqlite(path)
    migrate(old, ALL.slice(0, version))
    migrate(old, ALL)
    const fresh = new Sqlite(':memory:')
    migrate(fresh, ALL)
    const shape = (database: Sqlite.Database) =>
      database.prepare('SELECT type, name, sql FROM sqlite_master ORDER BY name').all()
    expect(shape(old)).toEqual(shape(fresh))
    old.close()
    fresh.close()
  },
)

type Row = Record<string, unknown>

const tablesOf = (database: Sqlite.Database) =>
  database
    .prepare<[], { name: string }>(
      `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`,
    )
    .all()
    .map(({ name }) => name)

/** Rows that fill every column of a table, as its version knows it: the first without what may be absent, the others with it. */
function fill(database: Sqlite.Database, table: string, count: number): Row[] {
  const columns = database
    .prepare<[string], { name: string; type: string; notnull: number; pk: number }>(
      'SELECT * FROM pragma_table_info(?)',
    )
    .all(table)
  const owners = database
    .prepare<[string], { from: string; to: string }>('SELECT "from", "to" FROM pragma_foreign_key_list(?)')
    .all(table)
  for (let at = 0; at < count; at++) {
    const values = columns.map(({ name, type, notnull, pk }) => {
      if (at === 0 && !notnull && !pk) return null
      // A row that belongs to another one names one that there is.
      const owner = owners.find(({ from }) => from === name)
      if (owner) return `${owner.to} ${at}`
      if (type === 'INTEGER') return /^(acknowledged|hidden|warm|has_)/.test(name) ? 1 : 1000 + at
      if (type === 'BLOB') return Buffer.from([0, at, 255])
      if (name === 'state') return 'Running'
      return /^(env|metadata|extensions|limits|request|template|capacity|entrypoint|mounts|platform|network_policy)$/.test(
        name,
      )
        ? JSON.stringify({ [name]: `"'${at}` })
        : `${name} ${at}`
    })
    database
      .prepare(`INSERT INTO ${table} (${columns.map(({ name }) => name)}) VALUES (${columns.map(() => '?')})`)
      .run(...values)
  }
  return readRows(database, table)
}

const readRows = (database: Sqlite.Database, table: string) =>
  database.prepare<[], Row>(`SELECT * FROM ${table}`).all()

/** What became of a table that a later version does not have any more. */
const MOVED: Record<string, { to: string; as: (row: Row) => Row }> = {
  transitions: { to: 'events', as: (row) => ({ ...row, type: 'state', tenant: 'default' }) },
}
/** Columns that a later version has judged anew. */
const JUDGED: Record<string, string[]> = { sandboxes: ['acknowledged'] }

test.each(ALL.map((_, index) => index + 1))('from version %i no row and no value is lost', (version) => {
  const path = pathOfNew()
  const old = new Sqlite(path)
  old.pragma('foreign_keys = ON')
  migrate(old, ALL.slice(0, version))
  // Those first to which others belong.
  const rank = (table: string) => Number(['sandboxes', 'volumes'].includes(table))
  // What triggers keep of the others has no values of its own.
  const tables = tablesOf(old)
    .filter((table) => table !== 'kept_amounts')
    .sort((a, b) => rank(b) - rank(a))
  const before = tables.map((table) => ({ table, rows: fill(old, table, 3) }))
  old.close()

  const store = new Store({ path, migrationsDir: MIGRATIONS })
  onTestFinished(() => store.close())
  const { raw } = store.database
  expect(raw.pragma('user_version', { simple: true })).toBe(ALL.length)
  for (const { table, rows } of before) {
    expect(rows).toHaveLength(3)
    const moved = tablesOf(raw).includes(table) ? undefined : MOVED[table]
    const after = readRows(raw, moved?.to ?? table)
    for (const row of rows) {
      const wanted = Object.entries(moved ? moved.as(row) : row).filter(
        ([column]) => !JUDGED[table]?.includes(column),
      )
      expect(after, `${table} of version ${version}`).toContainEqual(
        expect.objectContaining(Object.fromEntries(wanted)),
      )
    }
  }
  expect(raw.pragma('foreign_key_check')).toEqual([])
  expect(raw.pragma('integrity_check', { simple: true })).toBe('ok')
  // And the program works on it.
  expect(store.list({ limit: 10, offset: 0 }).total + store.all().length).toBeGreaterThan(0)
})

test('a database of a newer program is refused in one sentence, and left as it is', () => {
  const path = pathOfNew()
  const newer = new Sqlite(path)
  migrate(newer, ALL)
  newer.exec('CREATE TABLE of_tomorrow (a)')
  newer.pragma(`user_version = ${ALL.length + 1}`)
  newer.close()
  expect(() => new Store({ path, migrationsDir: MIGRATIONS })).toThrow(
    `Cannot open the database "${path}": it is of version ${ALL.length + 1}, made by a newer program; this one knows ${ALL.length}`,
  )
  const after = new Sqlite(path)
  onTestFinished(() => void after.close())
  expect(tablesOf(after)).toContain('of_tomorrow')
  expect(after.pragma('user_version', { simple: true })).toBe(ALL.length + 1)
})

test('a migration that fails half way says which, and leaves the version before it whole', () => {
  const path = pathOfNew()
  const database = new Sqlite(path)
  onTestFinished(() => void database.close())
  migrate(database, ALL)
  fill(database, 'sandboxes', 2)
  const shape = () => database.prepare('SELECT type, name, sql FROM sqlite_master ORDER BY name').all()
  const before = { shape: shape(), rows: readRows(database, 'sandboxes') }
  const number = ALL.length + 1
  const good = { number, name: 'good.sql', sql: 'CREATE TABLE good (a)' }
  const bad = {
    number: number + 1,
    name: 'bad.sql',
    sql: `ALTER TABLE sandboxes ADD COLUMN half TEXT; DELETE FROM sandboxes; DROP TABLE audit; INSERT INTO not_there VALUES (1)`,
  }
  expect(() => migrate(database, [...ALL, good, bad])).toThrow(
    new RegExp(
      `from version ${number} to ${number + 1} by bad\\.sql; it is as it was: no such table: .*not_there`,
    ),
  )
  // The one before it was whole, and stays.
  expect(database.pragma('user_version', { simple: true })).toBe(number)
  expect(database.inTransaction).toBe(false)
  database.exec('DROP TABLE good')
  expect({ shape: shape(), rows: readRows(database, 'sandboxes') }).toEqual(before)
})

test.each([
  [['0001-a.sql', '0003-b.sql'], 'Cannot use migration "0003-b.sql": number 2 was expected in its place'],
  [['0001-a.sql', '0001-b.sql'], 'Cannot use migration "0001-b.sql": number 2 was expected in its place'],
  [['0000-a.sql'], 'Cannot use migration "0000-a.sql": number 1 was expected in its place'],
])('%j is no list of migrations', (names, message) => {
  expect(() => sortMigrations(names.map((name) => ({ name, sql: '' })))).toThrow(message)
})

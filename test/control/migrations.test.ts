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

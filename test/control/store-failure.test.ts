// The database on a full disk, held by another program, read-only, damaged: what was not done is said so with a code, nothing is
// left half made, reads go on where they can, and all is well again by itself once the cause is gone.

import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, onTestFinished, test } from 'vitest'
import { refusalOfStore } from '../../control/errors.ts'
import { reconcile } from '../../control/sandbox/reconcile.ts'
import { type StoreFailure, storeFailureOf } from '../../control/store/failure.ts'
import { Store } from '../../control/store/sqlite.ts'
import { type ControlApp, createControlApp, MIGRATIONS, MINIMAL } from '../support/control-app.ts'
import { sandboxRow } from '../support/sandbox-row.ts'

const KEY = { 'open-sandbox-api-key': 'root-key' }

function openFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'store-failure-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function open(path = join(openFolder(), 'control.db')): ControlApp & { path: string } {
  const store = new Store({ path, migrationsDir: MIGRATIONS })
  const control = createControlApp({ store, access: { apiKey: 'root-key' } })
  onTestFinished(control.close)
  return { ...control, path }
}

const create = (control: ControlApp) => control.call('POST', '/v1/sandboxes', MINIMAL, KEY)

/** Leaves no room for a single event, as a full disk does, and returns what makes room again. */
function fillUp({ store }: ControlApp): () => void {
  const { raw } = store.database
  raw.pragma(`max_page_count = ${raw.pragma('page_count', { simple: true })}`)
  const insert = raw.prepare(
    `INSERT INTO events (at, tenant, sandbox_id, type, message) VALUES (1, 't', hex(randomblob(20)), 'policy', ?)`,
  )
  for (const size of [3000, 300, 30, 1]) {
    try {
      for (;;) insert.run('x'.repeat(size))
    } catch (error) {
      expect(error).toMatchObject({ code: 'SQLITE_FULL' })
    }
  }
  return () => {
    raw.pragma('max_page_count = 1000000')
  }
}

const codeOf = (code: string, cause?: unknown) => Object.assign(new Error(code, { cause }), { code })

test.each<[string, StoreFailure | undefined]>([
  ['SQLITE_FULL', 'full'],
  ['ENOSPC', 'full'],
  ['EDQUOT', 'full'],
  ['SQLITE_IOERR_SHMSIZE', 'full'],
  ['SQLITE_IOERR_FSYNC', 'unavailable'],
  ['SQLITE_CANTOPEN', 'unavailable'],
  ['EIO', 'unavailable'],
  ['SQLITE_BUSY', 'busy'],
  ['SQLITE_BUSY_SNAPSHOT', 'busy'],
  ['SQLITE_LOCKED', 'busy'],
  ['SQLITE_READONLY', 'read-only'],
  ['SQLITE_READONLY_DIRECTORY', 'read-only'],
  ['EROFS', 'read-only'],
  ['SQLITE_CORRUPT', 'damaged'],
  ['SQLITE_CORRUPT_INDEX', 'damaged'],
  ['SQLITE_NOTADB', 'damaged'],
  ['SQLITE_CONSTRAINT_UNIQUE', undefined],
  ['SQLITE_ERROR', undefined],
  ['ENOENT', undefined],
])('%s means %s', (code, failure) => {
  expect(storeFailureOf(codeOf(code))).toBe(failure)
  expect(storeFailureOf(new Error('outer', { cause: codeOf(code) }))).toBe(failure)
})

test('what is no failure of the store is not taken for one, however it is thrown', () => {
  const circle: Error & { cause?: unknown } = new Error('round')
  circle.cause = circle
  for (const thrown of [undefined, null, 'SQLITE_FULL', 7, circle, { code: 5 }])
    expect([storeFailureOf(thrown), refusalOfStore(thrown)]).toEqual([undefined, undefined])
})

test('on a full disk changes are refused, reads go on, nothing is half made, and room is enough to go on', async () => {
  const control = open()
  const id = String((await create(control)).body.id)
  const makeRoom = fillUp(control)
  for (const [method, path, body] of [
    ['POST', '/v1/sandboxes', MINIMAL],
    ['POST', `/v1/sandboxes/${id}/pause`],
    ['DELETE', `/v1/sandboxes/${id}`],
  ] as const) {
    const refused = await control.call(method, path, body, KEY)
    expect([method, path, refused.status, refused.body.code]).toEqual([
      method,
      path,
      503,
      'GENERAL::NO_SPACE',
    ])
    expect(refused.headers.get('retry-after')).toBe('10')
  }
  expect([...control.runtime.sandboxes]).toEqual([[id, expect.objectContaining({ state: 'running' })]])
  for (const path of [
    '/v1/sandboxes',
    `/v1/sandboxes/${id}`,
    `/v1/sandboxes/${id}/history`,
    '/v1/admin/keys',
  ])
    expect([path, (await control.call('GET', path, undefined, KEY)).status]).toEqual([path, 200])
  expect((await control.call('GET', `/v1/sandboxes/${id}`, undefined, KEY)).body.status).toMatchObject({
    state: 'Running',
  })

  makeRoom()
  expect((await create(control)).status).toBe(202)
  expect((await control.call('DELETE', `/v1/sandboxes/${id}`, undefined, KEY)).status).toBe(204)
  expect(control.store.all().map((row) => row.id)).toEqual([...control.runtime.sandboxes.keys()])
})

test('a disk that becomes full while a sandbox is made leaves none behind', async () => {
  const control = open()
  let makeRoom = () => {}
  control.runtime.before = (call) => {
    if (call === 'create') makeRoom = fillUp(control)
  }
  const refused = await create(control)
  expect([refused.status, refused.body.code]).toEqual([503, 'GENERAL::NO_SPACE'])
  // What was made is gone at once; its row could not be, and is looked at again until it is.
  expect(control.runtime.sandboxes.size).toBe(0)
  control.runtime.before = () => {}
  makeRoom()
  await reconcile(control.lives)
  expect([control.store.all(), control.runtime.sandboxes.size]).toEqual([[], 0])
})

test('a key opens although it cannot be written down that it was used', async () => {
  const control = open()
  const { body } = await control.call('POST', '/v1/admin/keys', { name: 'reader', role: 'read-only' }, KEY)
  control.store.database.raw.pragma('query_only = 1')
  const listed = await control.call('GET', '/v1/sandboxes', undefined, {
    'open-sandbox-api-key': String(body.key),
  })
  expect(listed.status).toBe(200)
})

test('while another program holds the database changes are refused soon, and reads go on', async () => {
  const control = open()
  const other = new Sqlite(control.path)
  onTestFinished(() => void other.close())
  other.exec('BEGIN IMMEDIATE')
  const refused = await create(control)
  expect([refused.status, refused.body.code]).toEqual([503, 'GENERAL::DATABASE_BUSY'])
  expect(refused.headers.get('retry-after')).toBe('1')
  expect((await control.call('GET', '/v1/sandboxes', undefined, KEY)).status).toBe(200)
  other.exec('COMMIT')
  expect((await create(control)).status).toBe(202)
})

test('a database that has become read-only is read on', async () => {
  const control = open()
  const id = String((await create(control)).body.id)
  control.store.database.raw.pragma('query_only = 1')
  const refused = await create(control)
  expect([refused.status, refused.body.code]).toEqual([503, 'GENERAL::DATABASE_READ_ONLY'])
  expect(refused.headers.get('retry-after')).toBe('30')
  expect((await control.call('GET', `/v1/sandboxes/${id}`, undefined, KEY)).status).toBe(200)
  control.store.database.raw.pragma('query_only = 0')
  expect((await create(control)).status).toBe(202)
})

test('a damaged database is said to be so, and that waiting does not help', async () => {
  const control = open()
  const { raw } = control.store.database
  for (let at = 0; at < 500; at++) control.store.insert(sandboxRow({ id: `sandbox-${at}`, createdAt: at }))
  raw.pragma('wal_checkpoint(TRUNCATE)')
  // Into the same file, as a bad disk would; and what SQLite remembers of it is forgotten.
  const file = openSync(control.path, 'r+')
  for (let page = 40; page < 100; page++) writeSync(file, Buffer.alloc(4096, 0x5a), 0, 4096, page * 4096)
  closeSync(file)
  raw.pragma('shrink_memory')
  const refused = await control.call('GET', '/v1/sandboxes', undefined, KEY)
  expect([refused.status, refused.body.code]).toEqual([500, 'GENERAL::DATABASE_DAMAGED'])
  expect(refused.headers.get('retry-after')).toBeNull()
  expect(refused.text).not.toContain(control.path)
})

test.each<[string, (path: string) => void, RegExp]>([
  [
    'is no database',
    (path) => writeFileSync(path, 'something else, '.repeat(1000)),
    /it is damaged: restore a backup/,
  ],
  ['lies in a directory that is not there', () => {}, /directory does not exist/],
  [
    'is held by another program',
    (path) => {
      const other = new Sqlite(path)
      onTestFinished(() => void other.close())
      other.pragma('locking_mode = EXCLUSIVE')
      other.exec('BEGIN EXCLUSIVE')
    },
    /another program holds it/,
  ],
])('a start with a database that %s says what helps', (what, spoil, message) => {
  const folder = openFolder()
  const path = what.startsWith('lies') ? join(folder, 'not-there/control.db') : join(folder, 'control.db')
  spoil(path)
  expect(() => new Store({ path, migrationsDir: MIGRATIONS })).toThrow(message)
})

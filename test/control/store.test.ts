import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, onTestFinished, test } from 'vitest'
import { migrate, sortMigrations } from '../../control/store/migrate.ts'
import { Store, type StoreEvent } from '../../control/store/sqlite.ts'
import { createControlApp, MIGRATIONS } from '../support/control-app.ts'
import { sandboxRow } from '../support/sandbox-row.ts'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'store-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function openMemory(): Store {
  const store = new Store({ path: ':memory:', migrationsDir: MIGRATIONS })
  onTestFinished(() => store.close())
  return store
}

test('a row comes back as it was written, after closing too, in a file for the owner alone', () => {
  const path = join(folder(), 'control.db')
  const row = sandboxRow({
    metadata: { a: 'b' },
    env: { A: 'ü' },
    limits: { nanoCpus: 1 },
    mounts: [{ source: '/a', target: '/b', readOnly: true }],
    networkPolicy: { defaultAction: 'deny', egress: [] },
    platform: { os: 'linux', arch: 'amd64' },
    expiresAt: 253_402_300_799_999,
  })
  const store = new Store({ path, migrationsDir: MIGRATIONS })
  store.insert(row)
  store.close()
  expect(statSync(path).mode & 0o777).toBe(0o600)
  const again = new Store({ path, migrationsDir: MIGRATIONS })
  expect(again.get(row.id)).toEqual(row)
  again.close()
})

test('what is absent is absent in the database too, written anew or changed to it', () => {
  const store = openMemory()
  const columns = ['platform', 'network_policy', 'reason', 'expires_at']
  const kinds = () =>
    store.database.raw
      .prepare(`SELECT ${columns.map((name) => `typeof(${name}) AS ${name}`).join()} FROM sandboxes`)
      .get()
  const absent = Object.fromEntries(columns.map((name) => [name, 'null']))
  const row = sandboxRow()
  store.insert(row)
  expect(kinds()).toEqual(absent)
  store.update(row.id, {
    platform: { os: 'linux', arch: 'amd64' },
    networkPolicy: { defaultAction: 'deny', egress: [] },
    reason: 'r',
    expiresAt: 1,
  })
  expect(kinds()).toEqual({ platform: 'text', network_policy: 'text', reason: 'text', expires_at: 'integer' })
  store.update(row.id, { platform: null, networkPolicy: null, reason: null, expiresAt: null })
  expect([kinds(), store.get(row.id)]).toEqual([absent, row])
})

test('watchers hear of every change after it is done, and of nothing that was rolled back', () => {
  const store = openMemory()
  const heard: [string, string | undefined][] = []
  const stop = store.watch(({ id, row }: StoreEvent) => heard.push([id, row?.state]))
  store.insert(sandboxRow({ id: 'a' }))
  store.update('a', { state: 'Paused' })
  store.change('a', () => undefined)
  expect(() =>
    store.change('a', () => {
      throw new Error('refused')
    }),
  ).toThrow('refused')
  store.update('missing', { state: 'Failed' })
  store.delete('a', { at: 2, isKnown: false })
  store.delete('a', { at: 2, isKnown: false })
  stop()
  store.insert(sandboxRow({ id: 'b' }))
  expect(heard).toEqual([
    ['a', 'Running'],
    ['a', 'Paused'],
    ['a', undefined],
  ])
})

test('deleting a sandbox takes its labels along; its history stays, and where clients knew of it, a trace', () => {
  const path = join(folder(), 'control.db')
  const store = new Store({ path, migrationsDir: MIGRATIONS })
  store.insert(sandboxRow({ metadata: { a: 'b' } }))
  store.insert(sandboxRow({ id: 'never-told' }))
  store.delete(sandboxRow().id, { at: 77, isKnown: true, log: Buffer.from('last words') })
  store.delete('never-told', { at: 77, isKnown: false })
  expect(store.events.of(sandboxRow().id, { limit: 9 }).map(({ type, at }) => [type, at])).toEqual([
    ['created', 1],
    ['state', 1],
    ['deleted', 77],
  ])
  expect(store.history(sandboxRow().id, 9)).toHaveLength(1)
  expect(store.pastLog(sandboxRow().id)?.toString()).toBe('last words')
  store.close()
  const database = new Database(path)
  onTestFinished(() => void database.close())
  for (const table of ['sandboxes', 'labels'])
    expect(database.prepare(`SELECT count(*) AS n FROM ${table}`).get()).toEqual({ n: 0 })
  expect(database.prepare('SELECT id, ended_at FROM past_sandboxes').all()).toEqual([
    { id: sandboxRow().id, ended_at: 77 },
  ])
})

test('history keeps the newest two hundred steps', () => {
  const store = openMemory()
  store.insert(sandboxRow({ id: 'a', lastTransitionAt: 0 }))
  for (let at = 1; at <= 300; at++)
    store.update('a', { state: at % 2 ? 'Paused' : 'Running', lastTransitionAt: at })
  const history = store.history('a', 1000)
  expect(history).toHaveLength(200)
  expect([history[0]?.at, history.at(-1)?.at]).toEqual([101, 300])
})

test('deadlines: due ones in order, stopping ones not, the next one', () => {
  const store = openMemory()
  store.insert(sandboxRow({ id: 'late', expiresAt: 300 }))
  store.insert(sandboxRow({ id: 'due', expiresAt: 100 }))
  store.insert(sandboxRow({ id: 'older', expiresAt: 50 }))
  store.insert(sandboxRow({ id: 'never' }))
  store.insert(sandboxRow({ id: 'stopping', expiresAt: 1, state: 'Stopping' }))
  expect(store.deadlines.due(100, 10)).toEqual(['older', 'due'])
  expect(store.deadlines.due(100, 1)).toEqual(['older'])
  expect(store.deadlines.next(2)).toEqual([
    { id: 'older', at: 50 },
    { id: 'due', at: 100 },
  ])
})

test.each([
  [['0001-a.sql', '0003-b.sql'], 'number 2 was expected'],
  [['0001-a.sql', '0001-b.sql'], 'number 2 was expected'],
  [['0002-a.sql'], 'number 1 was expected'],
])('sortMigrations() refuses %j', (names, message) => {
  expect(() => sortMigrations(names.map((name) => ({ name, sql: '' })))).toThrow(message)
})

test('migrations go forward, each once and whole', () => {
  const database = new Database(':memory:')
  onTestFinished(() => void database.close())
  const first = sortMigrations([
    { name: '0001-a.sql', sql: 'CREATE TABLE a (x)' },
    { name: 'readme.md', sql: '' },
  ])
  migrate(database, first)
  migrate(database, first)
  const broken = [...first, { number: 2, name: '0002-b.sql', sql: 'CREATE TABLE b (x); CREATE TABLE a (x)' }]
  expect(() => migrate(database, broken)).toThrow('already exists')
  expect(database.pragma('user_version', { simple: true })).toBe(1)
  expect(database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all()).toEqual([
    { name: 'a' },
  ])
})

test('a database of a newer program is refused, not touched', () => {
  const path = join(folder(), 'control.db')
  const database = new Database(path)
  database.pragma('user_version = 99')
  database.close()
  const before = readFileSync(path)
  expect(() => new Store({ path, migrationsDir: MIGRATIONS })).toThrow('made by a newer program')
  expect(readFileSync(path).subarray(60, 64)).toEqual(before.subarray(60, 64))
})

test('a file that is no database is refused with its own reason', () => {
  const path = join(folder(), 'control.db')
  writeFileSync(
    path,
    'this is not a database, and long enough to be told apart from an empty file '.repeat(20),
  )
  expect(() => new Store({ path, migrationsDir: MIGRATIONS })).toThrow(/not a database/)
})

const LISTED = [
  { id: 'a', state: 'Running', metadata: { team: 'x', env: 'prod' }, createdAt: 1 },
  { id: 'b', state: 'Paused', metadata: { team: 'x', env: '' }, createdAt: 2 },
  { id: 'c', state: 'Failed', metadata: { team: 'y' }, createdAt: 3 },
  { id: 'd', state: 'Running', metadata: {}, createdAt: 3 },
  { id: 'gone', state: 'Stopping', metadata: { team: 'x' }, createdAt: 9, hidden: true },
] as const

test.each([
  ['', 'd c b a'],
  ['?state=Running', 'd a'],
  ['?state=running&state=PAUSED', 'd b a'],
  ['?state=Sleeping', ''],
  ['?metadata=team%3Dx', 'b a'],
  ['?metadata=team%3Dx%26env%3Dprod', 'a'],
  ['?metadata=team%253Dx', 400],
  ['?metadata=te%2561m%3D%2578', 'b a'],
  ['?metadata=env%3D', 'b'],
  ['?metadata=', 'd c b a'],
  ['?metadata=team%3Dy%26team%3Dx', 'b a'],
  ['?metadata=team', 400],
  ['?metadata=team%3Dx%26', 400],
  ['?metadata=a%3D%25zz', 400],
  ['?metadata=team%3Dx&state=Running', 'a'],
  ['?page=2&pageSize=3', 'a'],
  ['?page=9', ''],
  ['?page=1.0&pageSize=200', 'd c b a'],
  ['?page_size=1', 'd c b a'],
  ['?page=0', 422],
  ['?page=x', 422],
  ['?pageSize=0', 422],
  ['?pageSize=201', 422],
  ['?pageSize=', 422],
])('list %s gives %s', async (query, wanted) => {
  const control = createControlApp()
  onTestFinished(control.close)
  for (const row of LISTED) control.store.insert(sandboxRow(row))
  const { status, body } = await control.call('GET', `/v1/sandboxes${query}`)
  if (typeof wanted === 'number') expect(status).toBe(wanted)
  else expect((body.items as { id: string }[]).map(({ id }) => id).join(' ')).toBe(wanted)
})

test('pages tell how many there are', async () => {
  const control = createControlApp()
  onTestFinished(control.close)
  const empty = await control.call('GET', '/sandboxes')
  expect(empty.body).toEqual({
    items: [],
    pagination: { page: 1, pageSize: 20, totalItems: 0, totalPages: 0, hasNextPage: false },
  })
  for (let at = 0; at < 5; at++) control.store.insert(sandboxRow({ id: `s${at}` }))
  const page = async (query: string) => (await control.call('GET', `/sandboxes?${query}`)).body.pagination
  expect(await page('pageSize=2')).toEqual({
    page: 1,
    pageSize: 2,
    totalItems: 5,
    totalPages: 3,
    hasNextPage: true,
  })
  expect(await page('pageSize=2&page=3')).toMatchObject({ hasNextPage: false })
  expect(await page('pageSize=2&page=4')).toMatchObject({ hasNextPage: false, totalItems: 5 })
})

test('what ends while it is taken from a pool has no events, and what was given out has all of its end', () => {
  const store = openMemory()
  const warm = {
    warm: true,
    hidden: true,
    acknowledged: true,
    state: 'Running',
    pool: 'p',
    poolRevision: 'r',
  } as const
  store.insert(sandboxRow({ ...warm, id: 'ended' }))
  store.insert(sandboxRow({ ...warm, id: 'given', createdAt: 2 }))
  const take = () =>
    store.takeWarm({ tenant: 'default', pool: 'p', revision: 'r' }, { createdAt: 3, expiresAt: 4 })?.id
  const end = (id: string) => {
    store.update(id, { state: 'Stopping', hidden: true })
    store.delete(id, { at: 5, isKnown: store.get(id)?.acknowledged === true })
    return store.events.of(id, { limit: 9 }).map(({ type, state }) => `${type} ${state}`)
  }
  expect([take(), take()]).toEqual(['ended', 'given'])
  store.reveal('given', 4)
  expect(end('ended')).toEqual([])
  expect(store.past('ended')).toBeUndefined()
  expect(end('given')).toEqual(['claimed Running', 'state Running', 'state Stopping', 'deleted Stopping'])
  expect(store.past('given')).toBeDefined()
})

// Upkeep: what has been kept long enough goes, slice by slice, and nothing else does; the log of the database stays short.

import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Checkpointer } from '../../control/store/checkpointer.ts'
import { pendingLogOf } from '../../control/store/figures.ts'
import {
  BOUNDED,
  KEPT_FOR_A_TIME,
  type KeptForATime,
  NOBODY,
  OPERATOR,
  prune,
  trim,
} from '../../control/store/retention.ts'
import { Store } from '../../control/store/sqlite.ts'
import { nextSlice, pauseAfter } from '../../control/upkeep/slices.ts'
import { type Retention, runUpkeep, shortenWal, tidy, type UpkeepDeps } from '../../control/upkeep/upkeep.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { createControlApp, MIGRATIONS, MINIMAL } from '../support/control-app.ts'
import { sandboxRow } from '../support/sandbox-row.ts'
import { waitUntil } from '../support/wait-for.ts'

const NOW = 1_800_000_000_000
const TABLE: Record<KeptForATime, { name: string; time: string }> = {
  events: { name: 'events', time: 'at' },
  endedSandboxes: { name: 'past_sandboxes', time: 'ended_at' },
  audit: { name: 'audit', time: 'at' },
  idempotency: { name: 'idempotency', time: 'created_at' },
}
const KEEP: Retention = { events: 1000, endedSandboxes: 2000, audit: 3000, idempotency: 4000 }

function openFile(): Store {
  const folder = mkdtempSync(join(tmpdir(), 'upkeep-'))
  const store = new Store({ path: join(folder, 'control.db'), migrationsDir: MIGRATIONS })
  onTestFinished(() => {
    store.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return store
}

function depsOf(store: Store, more: Partial<UpkeepDeps> = {}): UpkeepDeps {
  return {
    database: store.database,
    retention: KEEP,
    checkpointer: { checkpoint: async () => ({ pages: 0, left: 0 }) },
    log: createSilentLogger(),
    now: () => NOW,
    random: () => 0.5,
    signal: new AbortController().signal,
    ...more,
  }
}

/** One row in each table for each of these ages. */
function fill(store: Store, ages: number[]): void {
  const { raw } = store.database
  const insert = {
    events: raw.prepare(`INSERT INTO events (at, tenant, sandbox_id, type) VALUES (?, 't', 's', 'created')`),
    endedSandboxes: raw.prepare(
      `INSERT INTO past_sandboxes (ended_at, id, tenant, image, created_at) VALUES (?, hex(randomblob(8)), 't', 'i', 0)`,
    ),
    audit: raw.prepare(
      `INSERT INTO audit (at, request_id, actor, role, method, route, status) VALUES (?, 'r', 'a', 'admin', 'POST', '/', 200)`,
    ),
    idempotency: raw.prepare(
      `INSERT INTO idempotency (created_at, tenant, key, request_hash, sandbox_id) VALUES (?, 't', hex(randomblob(8)), 'h', 's')`,
    ),
  }
  raw.transaction(() => {
    for (const what of KEPT_FOR_A_TIME) for (const age of ages) insert[what].run(NOW - age)
  })()
}

function ages(store: Store, what: KeptForATime): number[] {
  const { name, time } = TABLE[what]
  const rows = store.database.raw.prepare(`SELECT ${NOW} - ${time} AS age FROM ${name} ORDER BY age`).all()
  return (rows as { age: number }[]).map(({ age }) => age)
}

test.each(KEPT_FOR_A_TIME)('of %s exactly those go that are older than what is kept', async (what) => {
  const store = openFile()
  const kept = KEEP[what]
  fill(store, [0, kept - 1, kept, kept + 1, kept + 100_000])
  await tidy(depsOf(store))
  expect(ages(store, what)).toEqual([0, kept - 1, kept])
})

const SHARE = 20_000

test.each(BOUNDED)('of %s nobody has more than its share, and what goes is the oldest', async (what) => {
  const store = openFile()
  const { raw } = store.database
  const insert = {
    events: raw.prepare(
      `INSERT INTO events (at, tenant, sandbox_id, type, message) VALUES (?, ?, 's', 'created', ?)`,
    ),
    endedSandboxes: raw.prepare(
      `INSERT INTO past_sandboxes (id, ended_at, tenant, image, created_at, log) VALUES (hex(randomblob(8)), ?, ?, 'i', 0, ?)`,
    ),
    audit: raw.prepare(
      `INSERT INTO audit (at, request_id, actor, role, method, status, tenant, route) VALUES (?, 'r', 'a', 'member', 'POST', 200, ?, ?)`,
    ),
  }
  const text = (length: number) =>
    what === 'endedSandboxes' ? Buffer.alloc(length, 'x') : 'x'.repeat(length)
  for (let at = 0; at < 300; at++) {
    insert[what].run(NOW - at, 'red', text(10 * (at % 30)))
    if (at < 20) insert[what].run(NOW - 500 - at, 'blue', text(100))
  }
  const { name, time } = TABLE[what]
  const of = (tenant: string) =>
    raw
      .prepare<[string], { age: number }>(
        `SELECT ${NOW} - ${time} AS age FROM ${name} WHERE tenant = ? ORDER BY age`,
      )
      .all(tenant)
      .map(({ age }) => age)
  const { retention: _, ...deps } = depsOf(store, { maxBytesOfTenant: SHARE })
  await tidy(deps)
  const left = of('red')
  expect(of('blue')).toHaveLength(20)
  expect(left.length).toBeGreaterThan(30)
  expect(left.length).toBeLessThan(100)
  // Events and the audit are in the order in which they were written, and here the newest came first.
  expect(left).toEqual(
    what === 'endedSandboxes'
      ? Array.from(left, (_, at) => at)
      : Array.from(left, (_, at) => 300 - left.length + at),
  )
  // What triggers count is what there is, also when everything goes.
  const counted = raw
    .prepare<[string], { row_count: number; bytes: number }>(
      `SELECT row_count, bytes FROM kept_amounts WHERE what = ? AND owner = 'red'`,
    )
    .get(what)
  expect(counted?.row_count).toBe(left.length)
  expect(counted?.bytes).toBeLessThanOrEqual(SHARE)
  raw.exec(`DELETE FROM ${name}`)
  expect(raw.prepare('SELECT sum(row_count) AS "rows", sum(bytes) AS bytes FROM kept_amounts').get()).toEqual(
    {
      rows: 0,
      bytes: 0,
    },
  )
})

test('callers without a key push no row of the operator out of the audit, and the index finds the oldest of each', () => {
  const store = openFile()
  const { raw } = store.database
  const insert = raw.prepare(
    `INSERT INTO audit (at, request_id, actor, role, method, route, status, tenant) VALUES (?, 'r', 'a', ?, 'POST', '/', 200, ?)`,
  )
  for (let at = 0; at < 50; at++) {
    insert.run(NOW + at, 'none', null)
    insert.run(NOW + at, 'admin', null)
    insert.run(NOW + at, 'member', 'red')
  }
  const asked: string[] = []
  const prepare = raw.prepare.bind(raw)
  const spied = vi.spyOn(raw, 'prepare').mockImplementation((sql: string) => {
    if (sql.startsWith('DELETE')) asked.push(sql)
    return prepare(sql)
  })
  const bound = { what: 'audit', maxBytes: 2010, limit: 1000 } as const
  for (const owner of [NOBODY, OPERATOR, 'red']) trim(store.database, { ...bound, owner })
  spied.mockRestore()
  const left = raw
    .prepare('SELECT role, count(*) AS "rows", min(at) AS oldest FROM audit GROUP BY role')
    .all()
  expect(left).toEqual(['admin', 'member', 'none'].map((role) => ({ role, rows: 10, oldest: NOW + 40 })))
  const plans = asked.map((sql) => {
    const values = Array.from(sql.matchAll(/\?/g), () => 1)
    const steps = raw.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...values) as { detail: string }[]
    return steps.map(({ detail }) => detail).find((detail) => /INDEX audit/.test(detail))
  })
  expect(plans).toEqual([
    expect.stringContaining('audit_of_nobody'),
    expect.stringContaining('audit_of_operator'),
    expect.stringContaining('audit_by_tenant'),
  ])
})

test('without a time for it, everything is kept', async () => {
  const store = openFile()
  fill(store, [0, 1e12])
  const { retention: _, ...deps } = depsOf(store)
  await tidy(deps)
  for (const what of KEPT_FOR_A_TIME) expect(ages(store, what)).toEqual([0, 1e12])
})

test('many go in many slices, with others served in between', async () => {
  const store = openFile()
  fill(
    store,
    Array.from({ length: 20_000 }, (_, at) => 1e6 + at),
  )
  let turns = 0
  let over = false
  const count = () => {
    turns += 1
    if (!over) setImmediate(count)
  }
  setImmediate(count)
  await tidy(depsOf(store))
  over = true
  for (const what of KEPT_FOR_A_TIME) expect(ages(store, what)).toEqual([])
  // The largest slice is 5000, and each is at most twice the one before it: 50, 100, … 3200, 5000, 5000 at the very best.
  expect(turns).toBeGreaterThan(4 * 9)
})

test('a slice removes the oldest, and no more than it may', () => {
  const store = openFile()
  fill(store, [10, 30, 20, 40])
  expect(prune(store.database, 'events', NOW - 15, 2)).toBe(2)
  expect(ages(store, 'events')).toEqual([10, 20])
})

test('being stopped ends it between two slices', async () => {
  const store = openFile()
  fill(
    store,
    Array.from({ length: 5000 }, (_, at) => 1e6 + at),
  )
  const stopped = new AbortController()
  setImmediate(() => stopped.abort())
  await tidy(depsOf(store, { signal: stopped.signal }))
  expect(ages(store, 'idempotency')).toHaveLength(5000)
})

test.each([
  // size, took, next
  [50, 0, 100],
  [50, 0.1, 100],
  [50, 3, 50],
  [1000, 6, 500],
  [1000, 3000, 10],
  [5000, 0.5, 5000],
  [10, 1e9, 10],
])('nextSlice() after %i rows in %d ms is %i', (size, tookMs, next) => {
  expect(nextSlice(size, tookMs)).toBe(next)
})

test.each([
  [0, 1],
  [0.1, 1],
  [3, 12],
  [10_000, 250],
])('pauseAfter() a slice of %d ms is %i ms', (tookMs, ms) => {
  expect(pauseAfter(tookMs)).toBe(ms)
})

test('a file that has become mostly empty gives its pages back', async () => {
  const store = openFile()
  const { raw } = store.database
  const insert = raw.prepare(
    `INSERT INTO past_sandboxes (id, tenant, image, created_at, ended_at, log) VALUES (?, 't', 'i', 0, 1, randomblob(20000))`,
  )
  raw.transaction(() => {
    for (let at = 0; at < 1000; at++) insert.run(String(at))
  })()
  const pages = () => Number(raw.pragma('page_count', { simple: true }))
  const full = pages()
  await tidy(depsOf(store))
  expect([full > 5000, pages() < 100]).toEqual([true, true])
  expect(raw.pragma('integrity_check', { simple: true })).toBe('ok')
})

test('whoever else opens the database finds that it is in use, also when the log has been looked at', () => {
  const store = openFile()
  const { name } = store.database.raw
  store.insert(sandboxRow({ id: 'before' }))
  const shared = statSync(`${name}-shm`)
  // By this lock another process knows that the index of the log is not its own to make anew.
  const isLocked = () =>
    new RegExp(` ${process.pid} \\S+:${shared.ino} `).test(readFileSync('/proc/locks', 'utf8'))
  expect(isLocked()).toBe(true)
  expect(pendingLogOf(store.database)).toBeGreaterThan(0)
  expect(isLocked()).toBe(true)
})

test('the log of the database is taken into it beside this thread, and begins anew', async () => {
  const store = openFile()
  const { raw } = store.database
  const checkpointer = new Checkpointer(raw.name)
  onTestFinished(() => checkpointer[Symbol.asyncDispose]())
  const deps = depsOf(store, { checkpointer })
  const write = (count: number) => {
    const insert = raw.prepare(
      `INSERT INTO past_sandboxes VALUES (hex(randomblob(8)), 't', 'i', 0, ?, NULL, NULL, randomblob(4000))`,
    )
    for (let at = 0; at < count; at++) insert.run(NOW)
  }
  // Not so many that SQLite begins it anew by itself.
  write(1200)
  expect(pendingLogOf(store.database)).toBeGreaterThan(4 << 20)
  const long = statSync(`${raw.name}-wal`).size
  await shortenWal(deps)
  expect(await checkpointer.checkpoint()).toMatchObject({ left: 0 })
  // What is written now stands at the log's beginning again.
  write(1200)
  expect(statSync(`${raw.name}-wal`).size).toBeLessThan(long * 1.2)
  await shortenWal(deps)
  expect(await checkpointer.checkpoint()).toMatchObject({ left: 0 })
  // And a short one is left alone, however long its file has become.
  write(1)
  expect(pendingLogOf(store.database)).toBeGreaterThan(0)
  await shortenWal(deps)
  expect(pendingLogOf(store.database)).toBeGreaterThan(0)
  await checkpointer.checkpoint()
  expect(pendingLogOf(store.database)).toBe(0)
  expect(raw.pragma('integrity_check', { simple: true })).toBe('ok')
})

test('a checkpoint of a database that is not there says so, and the next one begins anew', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'upkeep-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'control.db')
  const checkpointer = new Checkpointer(path)
  onTestFinished(() => checkpointer[Symbol.asyncDispose]())
  await expect(checkpointer.checkpoint()).rejects.toThrow(/unable to open|does not exist/)
  const store = new Store({ path, migrationsDir: MIGRATIONS })
  onTestFinished(() => store.close())
  expect((await checkpointer.checkpoint()).left).toBe(0)
})

test('runs again and again until it is stopped, whatever fails', async () => {
  const store = openFile()
  const stopped = new AbortController()
  const warnings: string[] = []
  const log = { ...createSilentLogger(), warn: (message: string) => void warnings.push(message) }
  let fails = true
  const now = () => {
    if (fails) throw new Error('The clock is broken')
    return NOW
  }
  const running = runUpkeep(depsOf(store, { now, log, signal: stopped.signal }), {
    everyMs: 2,
    firstPauseMs: 1,
    walEveryMs: 2,
  })
  await waitUntil(() => warnings.length > 1)
  expect(warnings[0]).toContain('what is old could not be removed')
  fails = false
  for (const _ of [1, 2]) {
    fill(store, [1e6])
    await waitUntil(() => ages(store, 'idempotency').length === 0)
  }
  stopped.abort()
  await running
})

test('diagnostics of a sandbox that is gone are there until their time is over', async () => {
  const store = openFile()
  let now = NOW
  const control = createControlApp({ store, now: () => now })
  const { body } = await control.call('POST', '/sandboxes', MINIMAL)
  control.runtime.output.set(String(body.id), Buffer.from('the last words\n'))
  await control.call('DELETE', `/sandboxes/${body.id}`)
  const logs = () => control.call('GET', `/sandboxes/${body.id}/diagnostics/logs`)
  const deps = depsOf(store, { now: () => now })
  now += KEEP.endedSandboxes
  await tidy(deps)
  expect((await logs()).text).toContain('the last words')
  now += 1
  await tidy(deps)
  expect((await logs()).status).toBe(404)
})

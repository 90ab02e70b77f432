import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, onTestFinished, test } from 'vitest'
import { createDatabaseCheck } from '../../../control/observe/database-check.ts'
import { createReadiness, NotReady } from '../../../control/observe/readiness.ts'
import { reconcile } from '../../../control/sandbox/reconcile.ts'
import { Store } from '../../../control/store/sqlite.ts'
import { createLogger, createSilentLogger } from '../../../lib/log.ts'
import {
  type ControlApp,
  type ControlAppOptions,
  createControlApp,
  MIGRATIONS,
} from '../../support/control-app.ts'

function open(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp(options)
  onTestFinished(() => control.close())
  return control
}

test('a server that has all it needs is ready, without a key', async () => {
  const control = open({ access: { apiKey: 'k' }, checkEgress: () => {} })
  const { status, body, headers } = await control.call('GET', '/ready')
  expect([status, body]).toEqual([
    200,
    {
      status: 'ready',
      checks: {
        database: { ok: true },
        runtime: { ok: true },
        egress: { ok: true },
        reconciler: { ok: true },
      },
    },
  ])
  expect(headers.get('cache-control')).toBe('no-store')
  expect((await control.call('HEAD', '/ready')).status).toBe(200)
  expect((await control.call('GET', '/v1/ready', undefined, { 'OPEN-SANDBOX-API-KEY': 'k' })).status).toBe(
    404,
  )
})

test('a runtime that fails makes the server not ready, and /health stays as the contract has it', async () => {
  const lines: string[] = []
  const control = open({ log: createLogger({ program: 'control', write: (line) => lines.push(line) }) })
  control.runtime.before = (call) => {
    if (call === 'inspect') throw new Error('connect ENOENT /var/run/secret.sock')
  }
  const { status, text, body } = await control.call('GET', '/ready')
  expect(status).toBe(503)
  expect(body).toMatchObject({
    status: 'not_ready',
    checks: { database: { ok: true }, runtime: { ok: false, reason: 'it failed; the log tells more' } },
  })
  expect(text).not.toContain('secret.sock')
  expect(lines.filter((line) => line.includes('not ready'))).toEqual([
    expect.stringContaining('check=runtime error="connect ENOENT /var/run/secret.sock"'),
  ])
  const health = await control.call('GET', '/health')
  expect([health.status, health.body]).toEqual([200, { status: 'healthy' }])
})

test('egress that is away makes it not ready', async () => {
  const control = open({ checkEgress: () => Promise.reject(new Error('ECONNREFUSED')) })
  const { status, body } = await control.call('GET', '/ready')
  expect([status, body]).toMatchObject([503, { checks: { egress: { ok: false }, runtime: { ok: true } } }])
})

test('a database that cannot be written makes it not ready', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ready-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'control.db')
  const store = new Store({ path, migrationsDir: MIGRATIONS })
  store.database.raw.pragma('busy_timeout = 0')
  const control = open({ store })
  const other = new Sqlite(path)
  onTestFinished(() => void other.close())
  other.exec('BEGIN IMMEDIATE')
  expect((await control.call('GET', '/ready')).body).toMatchObject({
    status: 'not_ready',
    checks: { database: { ok: false }, runtime: { ok: true } },
  })
})

test.each([
  [(16 << 20) - 1, 'there is hardly any space left on the disk of the data directory'],
  [16 << 20, undefined],
])('with %d bytes free on its disk a database says: %s', async (free, reason) => {
  const folder = mkdtempSync(join(tmpdir(), 'ready-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const store = new Store({ path: join(folder, 'control.db'), migrationsDir: MIGRATIONS })
  onTestFinished(() => store.close())
  const asked: string[] = []
  const check = createDatabaseCheck(store.database, async (path) => {
    asked.push(path)
    return free
  })
  const readiness = createReadiness({ log: createSilentLogger(), checks: { database: check } })
  expect((await readiness.ask()).checks.database).toEqual(reason ? { ok: false, reason } : { ok: true })
  expect(asked).toEqual([folder])
})

test('passes of the reconciler that fail make it not ready, until one succeeds', async () => {
  const control = open()
  control.runtime.before = (call) => {
    if (call === 'list') throw new Error('It does not list')
  }
  await expect(reconcile(control.lives)).rejects.toThrow('It does not list')
  expect((await control.call('GET', '/ready')).body).toMatchObject({
    checks: {
      reconciler: { ok: false, reason: 'the last look over all sandboxes failed; it is tried again' },
    },
  })
})

test('a check that hangs is given up after its time, and told', async () => {
  const readiness = createReadiness({
    log: createSilentLogger(),
    timeoutMs: 20,
    checks: { hangs: () => new Promise(() => {}), works: () => {} },
  })
  expect(await readiness.ask()).toEqual({
    status: 'not_ready',
    checks: { hangs: { ok: false, reason: 'it did not answer within 0.02 seconds' }, works: { ok: true } },
  })
})

test('many who ask cost as little as one, and trouble is logged once, and its end', async () => {
  let now = 0
  let looks = 0
  let trouble: Error | undefined = new NotReady('not yet')
  const lines: string[] = []
  const readiness = createReadiness({
    log: createLogger({ program: 'control', write: (line) => lines.push(line.replace(/^\S+ /, '')) }),
    holdsMs: 1000,
    now: () => now,
    checks: {
      thing: () => {
        looks++
        if (trouble) throw trouble
      },
    },
  })
  const answers = await Promise.all(Array.from({ length: 100 }, () => readiness.ask()))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set(['not_ready']))
  now = 999
  expect((await readiness.ask()).checks.thing).toEqual({ ok: false, reason: 'not yet' })
  expect(looks).toBe(1)
  now = 1000
  await readiness.ask()
  expect(looks).toBe(2)
  trouble = undefined
  now = 2000
  expect((await readiness.ask()).status).toBe('ready')
  expect(lines).toEqual([
    'warn control not ready check=thing error="not yet"\n',
    'info control ready again check=thing\n',
  ])
})

// The same Idempotency-Key makes one sandbox and has one answer, whatever happens in between.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { moveDeadlines } from '../../control/sandbox/move-deadlines.ts'
import { reconcile } from '../../control/sandbox/reconcile.ts'
import { Store } from '../../control/store/sqlite.ts'
import { hashKey } from '../../lib/access.ts'
import {
  type ControlApp,
  type ControlAppOptions,
  createControlApp,
  MIGRATIONS,
  MINIMAL,
} from '../support/control-app.ts'
import { waitFor } from '../support/wait-for.ts'

const KEY = { 'idempotency-key': '"8e03978e-40d5-43dd-bc93-6894a57f9324"' }

function open(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp(options)
  onTestFinished(control.close)
  return control
}

/** Holds creates of the runtime until it is opened; they give way to their signal. */
function holdCreates({ runtime }: ControlApp): { begun: Promise<void>; open: () => void } {
  const opened = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  runtime.before = (call, _id, signal) => {
    if (call !== 'create') return undefined
    begun.resolve()
    return new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      void opened.promise.then(resolve)
    })
  }
  return { begun: begun.promise, open: opened.resolve }
}

test('the same key and body have the first answer again, word for word, and make nothing', async () => {
  const control = open()
  const first = await control.call('POST', '/v1/sandboxes', { ...MINIMAL, metadata: { a: '1', b: '2' } }, KEY)
  expect(first.status).toBe(202)
  expect(first.headers.get('idempotent-replayed')).toBeNull()
  await control.call('PATCH', `/v1/sandboxes/${first.body.id}/metadata`, { a: 'changed' })
  const body = { metadata: { b: '2', a: '1' }, ...MINIMAL }
  const again = await control.call('POST', '/v1/sandboxes', body, KEY)
  expect([again.status, again.text]).toEqual([202, first.text])
  expect(again.headers.get('location')).toBe(first.headers.get('location'))
  expect(again.headers.get('idempotent-replayed')).toBe('true')
  expect(control.store.all()).toHaveLength(1)
  await control.call('DELETE', `/v1/sandboxes/${first.body.id}`)
  expect((await control.call('POST', '/v1/sandboxes', body, KEY)).text).toBe(first.text)
  expect(control.store.all()).toEqual([])
})

test('the answer comes back with its warnings', async () => {
  const control = open()
  const body = { ...MINIMAL, resourceLimits: { 'ephemeral-storage': '1Gi' } }
  const answers = [
    await control.call('POST', '/sandboxes', body, KEY),
    await control.call('POST', '/sandboxes', body, KEY),
  ]
  for (const { headers } of answers)
    expect(headers.get('opensandbox-warning')).toBe(
      'resourceLimits.ephemeral-storage has no effect on this runtime',
    )
})

test('another body under the same key is 422, also while the first is under way', async () => {
  const control = open()
  const held = holdCreates(control)
  const first = control.call('POST', '/sandboxes', MINIMAL, KEY)
  await held.begun
  const other = { ...MINIMAL, entrypoint: ['sleep', '1'] }
  const early = await control.call('POST', '/sandboxes', other, KEY)
  expect([early.status, early.body.code]).toEqual([422, 'GENERAL::IDEMPOTENCY_KEY_REUSED'])
  held.open()
  expect((await first).status).toBe(202)
  expect((await control.call('POST', '/sandboxes', other, KEY)).status).toBe(422)
  expect(control.store.all()).toHaveLength(1)
})

test('a second request joins the first, which goes on when its own caller leaves', async () => {
  const control = open()
  const held = holdCreates(control)
  const caller = new AbortController()
  const first = control.app.request('http://localhost/sandboxes', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...KEY },
    body: JSON.stringify(MINIMAL),
    signal: caller.signal,
  })
  await held.begun
  const joined = [1, 2, 3].map(() => control.call('POST', '/sandboxes', MINIMAL, KEY))
  caller.abort()
  held.open()
  const answers = await Promise.all(joined)
  expect(answers.map(({ status }) => status)).toEqual([202, 202, 202])
  expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
  expect(((await (await first).json()) as { id: string }).id).toBe(answers[0]?.body.id)
  expect(control.runtime.specs).toHaveLength(1)
})

test('a create that is answered Pending is answered so again, and stays the same sandbox', async () => {
  const control = open({ life: { createAnswerMs: 20 } })
  const held = holdCreates(control)
  const first = await control.call('POST', '/sandboxes', MINIMAL, KEY)
  expect(first.body.status).toMatchObject({ state: 'Pending' })
  held.open()
  await waitFor(() => expect(control.store.get(String(first.body.id))?.state).toBe('Running'))
  expect((await control.call('POST', '/sandboxes', MINIMAL, KEY)).text).toBe(first.text)
})

test('a create that failed leaves its key free', async () => {
  const control = open()
  control.runtime.before = (call) => {
    if (call === 'create') throw new Error('no')
  }
  expect((await control.call('POST', '/sandboxes', MINIMAL, KEY)).status).toBe(500)
  expect((await control.call('POST', '/sandboxes', { ...MINIMAL, timeout: 1 }, KEY)).status).toBe(422)
  control.runtime.before = () => {}
  const again = await control.call('POST', '/sandboxes', MINIMAL, KEY)
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([202, null])
})

test("a key is the tenant's own", async () => {
  const keys = ['red', 'blue'].map((tenant) => ({
    name: tenant,
    hash: hashKey(`${tenant}-key`),
    role: 'member' as const,
    tenant,
  }))
  const control = open({ access: { keys } })
  const create = (tenant: string) =>
    control.call('POST', '/sandboxes', MINIMAL, { ...KEY, 'open-sandbox-api-key': `${tenant}-key` })
  const [red, blue] = [await create('red'), await create('blue')]
  expect([red.status, blue.status]).toEqual([202, 202])
  expect(red.body.id).not.toBe(blue.body.id)
  expect((await create('red')).body.id).toBe(red.body.id)
})

test('a key stands for its sandbox for as long as the operator says', async () => {
  let now = Date.now()
  const control = open({ now: () => now, life: { idempotencyMs: 60_000 } })
  const create = async () => (await control.call('POST', '/sandboxes', MINIMAL, KEY)).body.id
  const first = await create()
  now += 60_000
  expect(await create()).toBe(first)
  now += 1
  const second = await create()
  expect(second).not.toBe(first)
  expect(await create()).toBe(second)
})

test('a key stays as old as it was when the wall clock is set', async () => {
  let now = Date.now()
  const control = open({ now: () => now, life: { idempotencyMs: 60_000 } })
  const create = async () => (await control.call('POST', '/sandboxes', MINIMAL, KEY)).body.id
  const first = await create()
  now += 3_600_000
  moveDeadlines(control.lives, { shift: () => {} }, 3_600_000)
  expect(await create()).toBe(first)
  now += 60_001
  expect(await create()).not.toBe(first)
})

test.each([
  ['', 'empty'],
  ['""', 'empty in quotes'],
  ['a b', 'a space outside of quotes'],
  ['one, two', 'two of them'],
  ['"a', 'a quote that does not end'],
  ['x'.repeat(256), 'too long'],
])('Idempotency-Key: %j is refused: %s', async (key) => {
  const control = open()
  const { status, body } = await control.call('POST', '/sandboxes', MINIMAL, { 'idempotency-key': key })
  expect([status, body.code]).toEqual([400, 'GENERAL::BAD_REQUEST'])
  expect(body.message).toContain('Idempotency-Key')
})

test('a key is the same with and without quotes', async () => {
  const control = open()
  const create = async (key: string) =>
    (await control.call('POST', '/sandboxes', MINIMAL, { 'idempotency-key': key })).body.id
  expect(await create('"a\\"b"')).not.toBe(await create('ab'))
  expect(await create('x'.repeat(255))).toBe(await create(`"${'x'.repeat(255)}"`))
})

/** A control that has stopped at once, as by SIGKILL, and the next one over the same file and runtime. */
async function reopen(
  before: ControlApp,
  path: string,
  options: ControlAppOptions = {},
): Promise<ControlApp> {
  const store = new Store({ path, migrationsDir: MIGRATIONS })
  return open({ ...options, runtime: before.runtime, store })
}

function openFile(options: ControlAppOptions = {}): { control: ControlApp; path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'once-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'control.db')
  return { path, control: open({ ...options, store: new Store({ path, migrationsDir: MIGRATIONS }) }) }
}

test('the first answer is given again after a restart', async () => {
  const { control, path } = openFile()
  const first = await control.call('POST', '/sandboxes', MINIMAL, KEY)
  const next = await reopen(control, path)
  const again = await next.call('POST', '/sandboxes', MINIMAL, KEY)
  expect(again.text).toBe(first.text)
  expect(next.store.all()).toHaveLength(1)
})

test('a death between the sandbox and its answer: the sandbox is found by its key', async () => {
  const { control, path } = openFile()
  const first = await control.call('POST', '/sandboxes', MINIMAL, KEY)
  control.store.database.raw.exec('UPDATE idempotency SET answer = NULL')
  const next = await reopen(control, path)
  const again = await next.call('POST', '/sandboxes', MINIMAL, KEY)
  expect([again.status, again.body.id]).toEqual([202, first.body.id])
  await next.call('DELETE', `/sandboxes/${first.body.id}`)
  const late = await next.call('POST', '/sandboxes', MINIMAL, KEY)
  expect([late.status, late.body.code]).toEqual([409, 'GENERAL::CONFLICT'])
})

test('a death in the middle of a create: the next request waits until it is cleared away, and makes one', async () => {
  const { control, path } = openFile()
  const held = holdCreates(control)
  const dying = control.call('POST', '/sandboxes', MINIMAL, KEY)
  await held.begun
  const left = control.store.all()[0]?.id
  const next = await reopen(control, path)
  next.runtime.before = () => {}
  const again = next.call('POST', '/sandboxes', MINIMAL, KEY)
  await reconcile(next.lives)
  const { status, body } = await again
  expect(status).toBe(202)
  expect(body.id).not.toBe(left)
  expect(next.store.all().map(({ id }) => id)).toEqual([body.id])
  held.open()
  await dying
})

test('neither the key nor the request stands in the database', async () => {
  const { control } = openFile()
  const auth = { username: 'me', password: 'hunter2' }
  await control.call(
    'POST',
    '/sandboxes',
    { ...MINIMAL, image: { uri: 'private', auth } },
    { 'idempotency-key': 'the-key' },
  )
  const kept = JSON.stringify(control.store.database.raw.prepare('SELECT * FROM idempotency').all())
  expect(kept).not.toContain('hunter2')
  expect(kept).not.toContain('the-key')
})

test('what may pass with another try says when to try', async () => {
  const control = open({
    access: { quotas: { default: { createsPerMinute: 1 }, tenants: {} } },
  })
  await control.call('POST', '/sandboxes', MINIMAL)
  const tooMany = await control.call('POST', '/sandboxes', MINIMAL)
  expect(tooMany.status).toBe(429)
  expect(Number(tooMany.headers.get('retry-after'))).toBeGreaterThan(0)
  // The store stays open for as long as something has its turn.
  const turn = Promise.withResolvers<void>()
  const busy = control.lives.turns.take('any', () => turn.promise)
  const closing = control.close()
  const stopping = await control.call('POST', '/sandboxes', MINIMAL)
  expect([stopping.status, stopping.body.code]).toEqual([503, 'GENERAL::STOPPING'])
  expect(Number(stopping.headers.get('retry-after'))).toBeGreaterThan(0)
  turn.resolve()
  await Promise.all([busy, closing])
})

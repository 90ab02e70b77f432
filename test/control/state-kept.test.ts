// What the upstream server loses or gets wrong, held to what is kept here.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { reconcile } from '../../control/sandbox/reconcile.ts'
import { Store } from '../../control/store/sqlite.ts'
import { type ControlApp, createControlApp, MIGRATIONS, MINIMAL } from '../support/control-app.ts'
import type { FakeRuntime } from '../support/fake-runtime.ts'

type Sandbox = {
  id: string
  image: { uri: string }
  entrypoint: string[]
  metadata?: Record<string, string>
  status: { state: string; reason?: string; lastTransitionAt: string }
  createdAt: string
  expiresAt?: string
}

const START = Date.UTC(2026, 0, 1)

function open(options: Parameters<typeof createControlApp>[0] = {}): ControlApp {
  const control = createControlApp(options)
  onTestFinished(control.close)
  return control
}

/** The same database and runtime under one control after another, as after a crash: nothing is told to end. */
function openRestartable() {
  const folder = mkdtempSync(join(tmpdir(), 'state-kept-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  let now = START
  let runtime: FakeRuntime | undefined
  return {
    tick: (ms: number) => {
      now += ms
    },
    start: () => {
      const control = open({
        store: new Store({ path: join(folder, 'control.db'), migrationsDir: MIGRATIONS }),
        now: () => now,
        ...(runtime && { runtime }),
      })
      runtime = control.runtime
      return control
    },
  }
}

async function create(control: ControlApp, more: object = {}): Promise<Sandbox> {
  const { status, body } = await control.call('POST', '/v1/sandboxes', { ...MINIMAL, ...more })
  expect(status).toBe(202)
  return body as Sandbox
}

async function read(control: ControlApp, id: string): Promise<Sandbox> {
  const { status, body } = await control.call('GET', `/v1/sandboxes/${id}`)
  expect(status).toBe(200)
  return body as Sandbox
}

const patch = (control: ControlApp, id: string, change: object) =>
  control.call('PATCH', `/v1/sandboxes/${id}/metadata`, change)

test('D1: a renewal is what counts after a restart, however the program ended', async () => {
  const machine = openRestartable()
  const first = machine.start()
  const { id } = await create(first, { timeout: 600 })
  const expiresAt = new Date(START + 86_400_000).toISOString().replace('.000', '')
  expect((await first.call('POST', `/v1/sandboxes/${id}/renew-expiration`, { expiresAt })).status).toBe(200)
  machine.tick(3_600_000)
  const second = machine.start()
  expect(second.store.deadlines.due(START + 3_600_000, 10)).toEqual([])
  expect(await read(second, id)).toMatchObject({ expiresAt, status: { state: 'Running' } })
})

test('D2: one without a timeout has none after a restart either', async () => {
  const machine = openRestartable()
  const { id } = await create(machine.start())
  machine.tick(1e12)
  const second = machine.start()
  await reconcile(second.lives)
  expect(second.store.deadlines.due(START + 1e12, 10)).toEqual([])
  expect(await read(second, id)).not.toHaveProperty('expiresAt')
})

test('D3: metadata that was deleted stays so, whatever is patched later, and after a restart', async () => {
  const machine = openRestartable()
  const first = machine.start()
  const { id } = await create(first, { metadata: { team: 'red', stage: 'one' } })
  await patch(first, id, { team: null })
  await patch(first, id, {})
  await patch(first, id, { new: '1' })
  expect((await read(machine.start(), id)).metadata).toEqual({ stage: 'one', new: '1' })
})

test('D4: of patches that come together none is lost', async () => {
  const control = open()
  const { id } = await create(control)
  const keys = Array.from({ length: 50 }, (_, at) => `k${at}`)
  const answers = await Promise.all(keys.map((key) => patch(control, id, { [key]: 'v' })))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect(Object.keys((await read(control, id)).metadata ?? {}).sort()).toEqual([...keys].sort())
})

test('D8: one that vanishes while all are looked at keeps none of the others from being put right', async () => {
  const control = open()
  const [gone, ended, left] = [await create(control), await create(control), await create(control)]
  control.runtime.exit(ended.id, 0)
  control.runtime.sandboxes.set('orphan', { id: 'orphan', state: 'running' })
  control.runtime.before = (call, id) => {
    // Between the list and the look at it.
    if (call === 'inspect' && id === ended.id) control.runtime.sandboxes.delete(gone.id)
  }
  await reconcile(control.lives)
  control.runtime.before = () => {}
  await reconcile(control.lives)
  const states = await Promise.all([gone, ended, left].map(({ id }) => read(control, id)))
  expect(states.map(({ status }) => status.state)).toEqual(['Failed', 'Terminated', 'Running'])
  expect(control.runtime.sandboxes.has('orphan')).toBe(false)
})

test('D12: every change of state has its time, and its place in the history', async () => {
  const machine = openRestartable()
  const control = machine.start()
  const { id } = await create(control)
  const times: string[] = [(await read(control, id)).status.lastTransitionAt]
  for (const step of ['pause', 'resume', 'pause']) {
    machine.tick(1000)
    expect((await control.call('POST', `/v1/sandboxes/${id}/${step}`)).status).toBe(202)
    times.push((await read(control, id)).status.lastTransitionAt)
  }
  expect(times).toEqual([0, 1, 2, 3].map((second) => `2026-01-01T00:00:0${second}Z`))
  expect(control.store.history(id, 20).map(({ state }) => state)).toEqual([
    ...['Pending', 'Running', 'Pausing', 'Paused', 'Resuming', 'Running', 'Pausing', 'Paused'],
  ])
})

test('D13: what was asked for is what is read, in every answer and after a restart', async () => {
  const machine = openRestartable()
  const first = machine.start()
  const asked = { image: { uri: 'registry.example/a/b:1' }, entrypoint: ['sh', '-c', 'echo "a b"'] }
  const made = await create(first, { ...asked, metadata: { a: 'b' } })
  const found = await read(first, made.id)
  const { items } = (await first.call('GET', '/v1/sandboxes')).body as { items: Sandbox[] }
  const later = await read(machine.start(), made.id)
  for (const each of [found, items[0], later])
    expect(each).toMatchObject({ ...asked, createdAt: made.createdAt, metadata: { a: 'b' } })
})

test('D14: metadata is what the request named, and nothing of the image or of ours', async () => {
  const control = open()
  const bare = await create(control)
  const some = await create(control, { metadata: { maintainer: 'me' } })
  expect(await read(control, bare.id)).not.toHaveProperty('metadata')
  expect((await read(control, some.id)).metadata).toEqual({ maintainer: 'me' })
  const filtered = await control.call('GET', '/v1/sandboxes?metadata=maintainer%3Dme')
  expect((filtered.body.items as Sandbox[]).map(({ id }) => id)).toEqual([some.id])
})

test('D15: two that end sandboxes at once end each once', async () => {
  const control = open()
  const { id } = await create(control)
  await Promise.all([1, 2, 3].map(() => control.call('DELETE', `/v1/sandboxes/${id}`)))
  expect(control.runtime.calls.filter((call) => call === `remove ${id}`)).toHaveLength(1)
  expect(control.store.events.of(id, { limit: 50 }).filter(({ type }) => type === 'deleted')).toHaveLength(1)
})

test('P1: while creates take their time everything else is answered', async () => {
  const control = open()
  const { promise, resolve } = Promise.withResolvers<void>()
  let waiting = 0
  control.runtime.before = async (call) => {
    if (call !== 'create') return
    waiting += 1
    await promise
  }
  const creates = Array.from({ length: 20 }, () => create(control))
  while (waiting < creates.length) await new Promise((next) => setImmediate(next))
  for (const path of ['/health', '/v1/sandboxes', '/v1/snapshots'])
    expect((await control.call('GET', path)).status).toBe(200)
  resolve()
  const made = await Promise.all(creates)
  expect(new Set(made.map(({ status }) => status.state))).toEqual(new Set(['Running']))
})

test('P4: a list asks the database and never the runtime', async () => {
  const control = open()
  for (let at = 0; at < 5; at++) await create(control)
  const asked: string[] = []
  control.runtime.before = (call) => void asked.push(call)
  const { body } = await control.call('GET', '/v1/sandboxes?pageSize=3')
  expect(body).toMatchObject({ pagination: { totalItems: 5, totalPages: 2, hasNextPage: true } })
  expect(asked).toEqual([])
})

test('P11: all requests share one connection, and no request changes the schema', async () => {
  const control = open()
  const { raw } = control.store.database
  const version = () => raw.pragma('schema_version', { simple: true })
  const before = version()
  const { id } = await create(control)
  await patch(control, id, { a: 'b' })
  await control.call('GET', '/v1/sandboxes')
  await control.call('DELETE', `/v1/sandboxes/${id}`)
  // A database in memory is there for one connection alone.
  expect([raw.memory, version()]).toEqual([true, before])
})

test('L1: a sandbox that the runtime does not know any more takes no list and no other one with it', async () => {
  const control = open()
  const [lost, other] = [await create(control), await create(control)]
  control.runtime.sandboxes.delete(lost.id)
  expect((await read(control, lost.id)).image.uri).toBe(MINIMAL.image.uri)
  expect((await control.call('GET', '/v1/sandboxes')).body.pagination).toMatchObject({ totalItems: 2 })
  await reconcile(control.lives)
  expect((await read(control, lost.id)).status).toMatchObject({ state: 'Failed', reason: 'SANDBOX_LOST' })
  expect((await read(control, other.id)).status.state).toBe('Running')
})

test('L2: lists are answered while sandboxes are deleted', async () => {
  const control = open()
  const made = await Promise.all(Array.from({ length: 12 }, () => create(control)))
  control.runtime.before = async (call) => {
    if (call === 'remove') await new Promise((resolve) => setImmediate(resolve))
  }
  const deletes = made.map(({ id }) => control.call('DELETE', `/v1/sandboxes/${id}`))
  const lists = Array.from({ length: 12 }, () => control.call('GET', '/v1/sandboxes'))
  expect(new Set((await Promise.all(lists)).map(({ status }) => status))).toEqual(new Set([200]))
  expect(new Set((await Promise.all(deletes)).map(({ status }) => status))).toEqual(new Set([204]))
  expect((await control.call('GET', '/v1/sandboxes')).body.items).toEqual([])
})

test('L3: deletes that come together are all answered as done, and a later one does not find it', async () => {
  const control = open()
  const { id } = await create(control)
  const answers = await Promise.all([1, 2, 3, 4].map(() => control.call('DELETE', `/v1/sandboxes/${id}`)))
  expect(answers.map(({ status }) => status)).toEqual([204, 204, 204, 204])
  expect((await control.call('DELETE', `/v1/sandboxes/${id}`)).status).toBe(404)
})

test('L4: a pause of a paused one is a conflict, also when two come together', async () => {
  const control = open()
  const { id } = await create(control)
  const pause = () => control.call('POST', `/v1/sandboxes/${id}/pause`)
  const answers = await Promise.all([pause(), pause()])
  expect(answers.map(({ status }) => status).sort()).toEqual([202, 409])
  expect((await pause()).status).toBe(409)
  expect((await read(control, id)).status.state).toBe('Paused')
})

// Pools kept filled: from rows alone, whatever fails, whatever changes, across restarts.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { reconcile, runReconciler } from '../../../control/sandbox/reconcile.ts'
import { Store } from '../../../control/store/sqlite.ts'
import { hashKey } from '../../../lib/access.ts'
import { createControlApp, MIGRATIONS } from '../../support/control-app.ts'
import { createFakeRuntime } from '../../support/fake-runtime.ts'
import { waitFor } from '../../support/wait-for.ts'
import { byPool, capacity, makePool, openPools, running, SHAPE, statusOf, untilWarm } from './support.ts'

const change = (control: ReturnType<typeof openPools>, body: object) =>
  control.call('PUT', '/v1/pools/p', body)

test('a pool grows and shrinks with its capacity', async () => {
  const control = openPools()
  await makePool(control)
  await untilWarm(control, 2)
  expect((await change(control, { capacitySpec: capacity(7) })).status).toBe(200)
  await untilWarm(control, 7)
  await change(control, { capacitySpec: capacity(1) })
  await untilWarm(control, 1)
  await waitFor(() => expect(running(control)).toHaveLength(1))
  await control.call('POST', '/v1/sandboxes', byPool('p'))
  await untilWarm(control, 1)
  await change(control, { capacitySpec: capacity(1, 1) })
  await untilWarm(control, 0)
  expect(await statusOf(control)).toMatchObject({ total: 1, allocated: 1 })
})

test('a tenant whose image takes for ever to fetch does not keep the pools of others empty', async () => {
  const keys = ['a', 'b'].map((name) => ({
    name,
    hash: hashKey(`key-${name}`),
    role: 'member' as const,
    tenant: name,
  }))
  const [a, b] = keys.map(({ name }) => ({ 'open-sandbox-api-key': `key-${name}` }))
  const runtime = createFakeRuntime()
  runtime.before = (call, id, signal) =>
    call === 'create' && runtime.specs.find((spec) => spec.id === id)?.image.uri === 'slow'
      ? new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      : undefined
  const control = openPools({ runtime, access: { keys } })
  await makePool(control, { template: { ...SHAPE, image: 'quick' }, capacitySpec: capacity(0) }, b)
  await makePool(control, { template: { ...SHAPE, image: 'slow' }, capacitySpec: capacity(9) }, a)
  await waitFor(() => expect(control.store.all().length).toBeGreaterThanOrEqual(3))
  await control.call('PUT', '/v1/pools/p', { capacitySpec: capacity(5) }, b)
  await untilWarm(control, 5, undefined, b)
})

test('a pool below its bounds is filled to their middle, however many steps that takes', async () => {
  const control = openPools()
  await makePool(control, { capacitySpec: { bufferMin: 1, bufferMax: 19, poolMin: 0, poolMax: 100 } })
  await untilWarm(control, 10)
  await Promise.all(Array.from({ length: 9 }, () => control.call('POST', '/v1/sandboxes', byPool('p'))))
  expect(await statusOf(control)).toMatchObject({ total: 10, allocated: 9, available: 1 })
})

test('sandboxes of an old shape are replaced, and claimed ones are left alone', async () => {
  const control = openPools()
  await makePool(control)
  await untilWarm(control, 2)
  const claimed = String((await control.call('POST', '/v1/sandboxes', byPool('p'))).body.id)
  await untilWarm(control, 2)
  const before = await statusOf(control)
  const old = running(control).filter((id) => id !== claimed)
  const changed = await change(control, {
    capacitySpec: capacity(2),
    template: { ...SHAPE, image: 'alpine' },
  })
  expect(changed.status).toBe(200)
  await waitFor(() => expect(running(control).filter((id) => old.includes(id))).toEqual([]))
  await untilWarm(control, 2)
  expect((await statusOf(control)).revision).not.toBe(before.revision)
  expect(control.runtime.specs.at(-1)?.image.uri).toBe('alpine')
  expect(running(control)).toContain(claimed)
  // The same shape, written in another way, is the same.
  const { revision } = await statusOf(control)
  await change(control, {
    capacitySpec: capacity(2),
    template: {
      spec: {
        containers: [
          {
            image: 'alpine',
            command: SHAPE.entrypoint,
            resources: { limits: { memory: '65536Ki', cpu: '1000m' } },
          },
        ],
      },
    },
  })
  expect((await statusOf(control)).revision).toBe(revision)
})

test('one that ended is replaced', async () => {
  const control = openPools()
  const stopped = new AbortController()
  const following = runReconciler({ ...control.lives, signal: stopped.signal })
  await makePool(control)
  await untilWarm(control, 2)
  const [dead = ''] = running(control)
  control.runtime.exit(dead, 1)
  await waitFor(() => expect(running(control)).not.toContain(dead))
  await untilWarm(control, 2)
  stopped.abort()
  await following
})

test('one that does not answer is replaced', async () => {
  let at = 0
  const deaf = new Set<string>()
  const control = openPools({
    now: () => at,
    execd: {
      ping: async ({ address }) => {
        if (deaf.has(address)) throw new Error('connect ECONNREFUSED')
      },
    },
  })
  await makePool(control)
  await untilWarm(control, 2)
  const [first] = control.store.all()
  deaf.add(first?.address ?? '')
  await waitFor(() => {
    at += 31_000
    control.pooling.keeper.wake()
    expect(running(control)).not.toContain(first?.id)
  })
  await untilWarm(control, 2)
})

test('a pool that cannot be filled says why, pauses between attempts, and recovers', async () => {
  const runtime = createFakeRuntime()
  let isBroken = true
  runtime.before = (call) => {
    if (call === 'create' && isBroken) throw new RuntimeError('image_not_found', 'There is no image "debian"')
  }
  let at = 0
  const control = openPools({ runtime, now: () => at })
  await makePool(control)
  await waitFor(async () => expect((await statusOf(control)).message).toBe('There is no image "debian"'))
  await waitFor(() => expect(running(control)).toEqual([]))
  const attempts = runtime.specs.length
  for (let looks = 0; looks < 20; looks++) {
    control.pooling.keeper.wake()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(runtime.specs.length).toBe(attempts)
  expect(attempts).toBeLessThanOrEqual(2)
  isBroken = false
  at += 1001
  control.pooling.keeper.wake()
  await untilWarm(control, 2)
  expect((await statusOf(control)).message).toBeUndefined()
  expect(control.store.all()).toHaveLength(2)
})

test('at most four are started side by side', async () => {
  const runtime = createFakeRuntime()
  let now = 0
  let most = 0
  runtime.before = async (call) => {
    if (call !== 'create') return
    most = Math.max(most, ++now)
    await new Promise((resolve) => setImmediate(resolve))
    now--
  }
  const control = openPools({ runtime })
  await makePool(control, { name: 'p', capacitySpec: capacity(6) })
  await makePool(control, { name: 'q', capacitySpec: capacity(6) })
  await untilWarm(control, 6)
  await untilWarm(control, 6, '/v1/pools/q')
  expect(most).toBe(4)
})

test('when a pool goes, its warm sandboxes go, those on their way too, and claimed ones stay', async () => {
  const control = openPools()
  await makePool(control)
  await untilWarm(control, 2)
  const claimed = String((await control.call('POST', '/v1/sandboxes', byPool('p'))).body.id)
  await change(control, { capacitySpec: capacity(9) })
  expect((await control.call('DELETE', '/v1/pools/p')).status).toBe(204)
  await waitFor(() => expect(running(control)).toEqual([claimed]))
  const read = await control.call('GET', `/v1/sandboxes/${claimed}`)
  expect([read.status, read.body.allocation]).toEqual([200, undefined])
  // A new one of this name begins with nothing.
  await makePool(control)
  await untilWarm(control, 2)
  expect(await statusOf(control)).toMatchObject({ allocated: 0, total: 2 })
})

test('after a restart warm sandboxes are found again, half-made and half-claimed ones go', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pools-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const open = () => new Store({ path: join(folder, 'control.db'), migrationsDir: MIGRATIONS })
  const runtime = createFakeRuntime()
  const first = createControlApp({ runtime, store: open(), runsPooling: true })
  await makePool(first, { capacitySpec: capacity(3) })
  await untilWarm(first, 3)
  const warm = running(first)
  await first.close()

  // As a death leaves it: one whose claim had begun, one whose start had.
  const between = open()
  const revision = between.get(warm[0] ?? '')?.poolRevision ?? ''
  const half = between.takeWarm({ tenant: 'default', pool: 'p', revision }, { createdAt: 5, expiresAt: null })
  const begun = between.insert({
    ...(between.get(warm[1] ?? '') ?? half!),
    id: 'begun',
    state: 'Pending',
    acknowledged: false,
  })
  runtime.sandboxes.set(begun.id, { id: begun.id, state: 'incomplete' })
  between.close()

  const second = openPools({ runtime, store: open() })
  await reconcile(second.lives)
  await untilWarm(second, 3)
  const kept = warm.filter((id) => id !== half?.id)
  await waitFor(() => expect(running(second)).toHaveLength(3))
  expect(running(second)).toEqual(expect.arrayContaining(kept))
  expect(running(second)).not.toContain(half?.id)
  const ids = second.store.all().map(({ id }) => id)
  expect(ids.sort()).toEqual(running(second))
  expect((await second.call('POST', '/v1/sandboxes', byPool('p'))).status).toBe(202)
})

test('reconciling and deadlines leave warm sandboxes alone', async () => {
  let at = 0
  const control = openPools({ now: () => at })
  await makePool(control)
  await untilWarm(control, 2)
  const warm = running(control)
  at = 10 ** 12
  expect(control.store.deadlines.due(at, 10)).toEqual([])
  await reconcile(control.lives)
  expect(running(control)).toEqual(warm)
  await untilWarm(control, 2)
})

// Named volumes over rows: whose they are, how long they live, and what is left when something goes wrong in between.

import { expect, onTestFinished, test } from 'vitest'
import { RuntimeError } from '../../control/runtime/runtime.ts'
import { expireSandbox } from '../../control/sandbox/change.ts'
import { clearVolumes } from '../../control/sandbox/named-volumes.ts'
import { runVolumes } from '../../control/sandbox/run-volumes.ts'
import { QuotaStore } from '../../control/store/quotas.ts'
import { hashKey } from '../../lib/access.ts'
import { type ControlApp, type ControlAppOptions, createControlApp, MINIMAL } from '../support/control-app.ts'
import { createFakeRuntime } from '../support/fake-runtime.ts'

const ACCESS = {
  keys: [
    { name: 'ops', hash: hashKey('ops-key'), role: 'admin' as const },
    { name: 'a-key', hash: hashKey('a-key'), role: 'member' as const, tenant: 'a' },
    { name: 'b-key', hash: hashKey('b-key'), role: 'member' as const, tenant: 'b' },
  ],
}
const as = (key: string) => ({ 'OPEN-SANDBOX-API-KEY': key })

function open(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp(options)
  onTestFinished(() => control.close())
  return control
}

type Claim = { createIfNotExists?: boolean; deleteOnSandboxTermination?: boolean; storage?: string }
const mounting = (claimName: string, pvc: Claim = {}, more = {}) => ({
  ...MINIMAL,
  volumes: [{ name: 'data', mountPath: '/data', pvc: { claimName, ...pvc }, ...more }],
})

async function create(control: ControlApp, body: object, key?: string): Promise<string> {
  const answer = await control.call('POST', '/v1/sandboxes', body, key ? as(key) : {})
  expect(answer.status, answer.text).toBe(202)
  return String(answer.body.id)
}

const names = async (control: ControlApp, key?: string) => {
  const { body } = await control.call('GET', '/v1/volumes', undefined, key ? as(key) : {})
  return (body.items as { name: string }[]).map(({ name }) => name)
}

/** What the program does by itself in the background. */
const settle = (control: ControlApp) => clearVolumes(control.lives)

test('a create makes the volume that it names, and another one mounts the same', async () => {
  const control = open()
  const first = await create(control, mounting('shared', {}, { subPath: 'a/./b/' }))
  const second = await create(control, mounting('shared', { createIfNotExists: false }, { readOnly: true }))
  const [key] = control.runtime.volumeKeys
  expect(control.runtime.specs.map(({ volumes }) => volumes)).toEqual([
    [{ key, subPath: 'a/b', target: '/data', readOnly: false }],
    [{ key, target: '/data', readOnly: true }],
  ])
  expect(control.runtime.calls.filter((call) => call.startsWith('create-volume'))).toHaveLength(1)
  const { body } = await control.call('GET', '/v1/volumes/shared')
  expect(body).toMatchObject({
    name: 'shared',
    usedBy: [first, second].sort(),
    deleteOnSandboxTermination: false,
    sizeBytes: 4096,
    tenant: 'default',
    createdBy: 'local',
  })
  for (const id of [first, second]) await control.call('DELETE', `/v1/sandboxes/${id}`)
  await settle(control)
  expect(await names(control)).toEqual(['shared'])
  expect(control.runtime.volumeKeys.size).toBe(1)
})

test('S6: names are per tenant, and of the volume of another one nobody learns', async () => {
  const control = open({ access: ACCESS })
  await create(control, mounting('data'), 'a-key')
  const foreign = await control.call(
    'POST',
    '/v1/sandboxes',
    mounting('data', { createIfNotExists: false }),
    as('b-key'),
  )
  expect([foreign.status, foreign.body.code]).toEqual([400, 'VOLUME::PVC_NOT_FOUND'])
  for (const [method, path] of [
    ['GET', '/v1/volumes/data'],
    ['DELETE', '/v1/volumes/data'],
  ] as const) {
    const answer = await control.call(method, path, undefined, as('b-key'))
    expect([answer.status, answer.body.code]).toEqual([404, 'VOLUME::NOT_FOUND'])
  }
  expect((await control.call('GET', '/v1/volumes?tenant=a', undefined, as('b-key'))).status).toBe(403)
  expect(await names(control, 'b-key')).toEqual([])

  await create(control, mounting('data'), 'b-key')
  const [one, other] = control.runtime.specs.map(({ volumes }) => volumes?.[0]?.key)
  expect(one).not.toBe(other)
  expect(await names(control, 'ops-key')).toEqual(['data', 'data'])
  expect(
    (await control.call('GET', '/v1/volumes?tenant=b', undefined, as('ops-key'))).body.items,
  ).toMatchObject([{ name: 'data', tenant: 'b' }])
  const own = await control.call('GET', '/v1/volumes/data', undefined, as('b-key'))
  expect(own.body).not.toHaveProperty('tenant')
})

test.each(['DELETE', 'expiry'])('D5: what is to go with its sandbox goes by %s', async (by) => {
  let now = Date.UTC(2026, 0, 1)
  const control = open({ now: () => now })
  const id = await create(control, {
    ...mounting('scratch', { deleteOnSandboxTermination: true }),
    timeout: 60,
  })
  expect((await control.call('GET', '/v1/volumes/scratch')).body.deleteOnSandboxTermination).toBe(true)
  const running = runVolumes(control.lives)
  now += 61_000
  if (by === 'DELETE') await control.call('DELETE', `/v1/sandboxes/${id}`)
  else await expireSandbox(control.lives, id)
  await expect.poll(() => control.store.volumes.keys()).toEqual([])
  expect(control.runtime.volumeKeys.size).toBe(0)
  expect(await names(control)).toEqual([])
  await control.close()
  await running
})

test('a volume that goes with its sandbox waits for the others that mount it, and is only whose create made it', async () => {
  const control = open()
  const maker = await create(control, mounting('scratch', { deleteOnSandboxTermination: true }))
  const guest = await create(control, mounting('scratch'))
  await control.call('DELETE', `/v1/sandboxes/${maker}`)
  await settle(control)
  expect(await names(control)).toEqual(['scratch'])
  await control.call('DELETE', `/v1/sandboxes/${guest}`)
  expect(await names(control)).toEqual([])

  await create(control, mounting('kept'))
  const late = await create(control, mounting('kept', { deleteOnSandboxTermination: true }))
  await control.call('DELETE', `/v1/sandboxes/${late}`)
  await settle(control)
  expect(await names(control)).toEqual(['kept'])
})

test('D6: a create that fails takes back the volumes that it has made, and no others', async () => {
  const control = open()
  await control.call('POST', '/v1/volumes', { name: 'mine' })
  control.runtime.before = (call) => {
    if (call === 'create') throw new RuntimeError('image_not_found', 'There is no such image')
  }
  for (const pvc of [{}, { deleteOnSandboxTermination: true }]) {
    const volumes = [
      { name: 'a', mountPath: '/a', pvc: { claimName: 'new', ...pvc } },
      { name: 'b', mountPath: '/b', pvc: { claimName: 'mine', ...pvc } },
    ]
    expect((await control.call('POST', '/v1/sandboxes', { ...MINIMAL, volumes })).status).toBe(400)
    await settle(control)
    expect(await names(control)).toEqual(['mine'])
    expect(control.runtime.volumeKeys.size).toBe(1)
  }
})

test('a tenant whose volumes take what it may have gets no more, and no sandbox that writes to them', async () => {
  const control = open({ access: { quotas: { default: { volumeBytes: 6000 }, tenants: {} } } })
  const running = runVolumes(control.lives)
  // Nobody knows yet how large it is.
  for (const name of ['one', 'two']) await control.call('POST', '/v1/volumes', { name })
  const writer = await create(control, mounting('one'))
  expect((await control.call('GET', '/v1/volumes')).body.items).toMatchObject([
    { name: 'one', sizeBytes: 4096 },
    { name: 'two', sizeBytes: 4096 },
  ])
  const message =
    'Quota of tenant "default": at most 6000 bytes of volumes; there are 8192: remove some, or what is in them'
  for (const [path, body] of [
    ['/v1/volumes', { name: 'three' }],
    ['/v1/sandboxes', mounting('one')],
    ['/v1/sandboxes', mounting('three')],
  ] as const) {
    const refused = await control.call('POST', path, body)
    expect([refused.status, refused.body]).toEqual([403, { code: 'KUBERNETES::QUOTA_EXCEEDED', message }])
  }
  // What runs goes on, and what only reads takes nothing.
  await create(control, mounting('one', {}, { readOnly: true }))
  expect((await control.call('GET', `/v1/sandboxes/${writer}`)).body.status).toMatchObject({
    state: 'Running',
  })
  const { used } = (await control.call('GET', '/v1/admin/tenants/default')).body
  expect(used).toMatchObject({ volumes: 2, volumeBytes: 8192 })
  await control.call('DELETE', '/v1/volumes/two')
  await create(control, mounting('one'))
  await control.close()
  await running
})

test('sizes that count for a quota are found out without anybody asking, and of nobody else', async () => {
  const quotas = { default: {}, tenants: { a: { volumeBytes: 1 } } }
  const control = open({ access: { ...ACCESS, quotas } })
  for (const key of ['a-key', 'b-key']) await control.call('POST', '/v1/volumes', { name: 'x' }, as(key))
  const measured: string[] = []
  const { volumes } = control.runtime
  if (volumes)
    volumes.sizeOf = async (key) => {
      measured.push(key)
      return 7
    }
  const running = runVolumes(control.lives)
  const keyOf = (tenant: string) => control.store.volumes.get({ tenant, name: 'x' })?.key
  await expect.poll(() => new QuotaStore(control.store.database).kept('a').volumeBytes).toBe(7)
  expect(measured).toEqual([keyOf('a')])
  await control.close()
  await running
})

test('a volume that cannot be measured counts as it was last, and one that never could lets its tenant grow no more', async () => {
  const control = open({ access: { quotas: { default: { volumeBytes: 6000 }, tenants: {} } } })
  const { volumes } = control.runtime
  if (!volumes) throw new Error('the runtime of the tests has volumes')
  const { sizeOf } = volumes
  let isSlow = false
  volumes.sizeOf = async (...asked) => {
    if (isSlow) throw new Error('du did not end within 60 seconds')
    return await sizeOf(...asked)
  }
  const running = runVolumes(control.lives)
  await control.call('POST', '/v1/volumes', { name: 'one' })
  const kept = () => new QuotaStore(control.store.database).kept('default')
  await expect.poll(() => control.call('GET', '/v1/volumes/one').then(() => kept().volumeBytes)).toBe(4096)
  isSlow = true
  await control.call('POST', '/v1/volumes', { name: 'two' })
  await expect
    .poll(() => control.call('GET', '/v1/volumes').then(() => kept()))
    .toMatchObject({ volumeBytes: 4096, unmeasuredVolumes: 1 })
  for (const [path, body] of [
    ['/v1/volumes', { name: 'three' }],
    ['/v1/sandboxes', mounting('one')],
  ] as const) {
    const refused = await control.call('POST', path, body)
    expect([refused.status, refused.body.code]).toEqual([403, 'KUBERNETES::QUOTA_EXCEEDED'])
    expect(refused.body.message).toContain('as 1 could not be measured in time')
  }
  await create(control, mounting('one', {}, { readOnly: true }))
  await control.call('DELETE', '/v1/volumes/two')
  await create(control, mounting('one'))
  await control.close()
  await running
})

test('D6: a create that is refused makes no volume at all', async () => {
  const control = open({ access: { quotas: { default: { sandboxes: 0 }, tenants: {} } } })
  expect((await control.call('POST', '/v1/sandboxes', mounting('new'))).status).toBe(403)
  const volumes = [
    { name: 'a', mountPath: '/a', pvc: { claimName: 'new' } },
    { name: 'b', mountPath: '/b', pvc: { claimName: 'none', createIfNotExists: false } },
  ]
  expect((await control.call('POST', '/v1/sandboxes', { ...MINIMAL, volumes })).status).toBe(403)
  expect(control.store.volumes.keys()).toEqual([])
})

test('a create whose volume cannot be made says so, and leaves neither a row nor a sandbox', async () => {
  const control = open()
  control.runtime.before = (call) => {
    if (call === 'create-volume') throw new RuntimeError('no_space', 'There is no space left for a volume')
  }
  const answer = await control.call('POST', '/v1/sandboxes', mounting('new'))
  expect([answer.status, answer.body.message]).toEqual([500, 'There is no space left for a volume'])
  await settle(control)
  expect(control.store.volumes.keys()).toEqual([])
  expect(control.store.all()).toEqual([])
})

test('a process that dies at any step leaves a volume to whoever runs, or nothing', async () => {
  for (const dies of ['create-volume', 'create', 'none'] as const) {
    const runtime = createFakeRuntime()
    const control = createControlApp({ runtime })
    // What would be done after the death does not happen; what the rows say is what the next process finds.
    runtime.before = (call) => (call === dies ? new Promise(() => {}) : undefined)
    void control.call('POST', '/v1/sandboxes', mounting('data'))
    await expect.poll(() => runtime.calls.at(-1)).toContain(dies === 'create-volume' ? dies : 'create ')

    const next = createControlApp({ runtime, store: control.store })
    runtime.before = () => {}
    const running = next.runLoops()
    const isKept = dies === 'none'
    await expect
      .poll(() => [next.store.all().length, next.store.volumes.keys().length])
      .toEqual(isKept ? [1, 1] : [0, 0])
    expect(runtime.volumeKeys.size).toBe(isKept ? 1 : 0)
    await next.close()
    await running
  }
})

test('volumes are made, listed page by page and removed by themselves', async () => {
  const control = open()
  for (const name of ['b', 'a', 'c']) {
    const answer = await control.call('POST', '/volumes', { name })
    expect([answer.status, answer.body.name]).toEqual([201, name])
  }
  const again = await control.call('POST', '/v1/volumes', { name: 'a' })
  expect([again.status, again.body.code]).toEqual([409, 'VOLUME::ALREADY_EXISTS'])
  const page = await control.call('GET', '/v1/volumes?pageSize=2&page=2')
  expect(page.body).toMatchObject({
    items: [{ name: 'c' }],
    pagination: { totalItems: 3, hasNextPage: false },
  })

  const id = await create(control, mounting('a', { createIfNotExists: false }))
  const used = await control.call('DELETE', '/v1/volumes/a')
  expect([used.status, used.body.code]).toEqual([409, 'VOLUME::IN_USE'])
  await control.call('DELETE', `/v1/sandboxes/${id}`)
  expect((await control.call('DELETE', '/v1/volumes/a')).status).toBe(204)
  expect((await control.call('DELETE', '/v1/volumes/a')).status).toBe(404)

  // The name is free at once, and what comes by it is empty: the old files may still be on their way out.
  const old = [...control.runtime.volumeKeys]
  await create(control, mounting('a'))
  expect(old).not.toContain(control.runtime.specs.at(-1)?.volumes?.[0]?.key)
  await settle(control)
  expect(control.runtime.volumeKeys.size).toBe(3)
})

test.each(['', 'A', '-a', 'a/b', '..', 'a'.repeat(254), 5, undefined])(
  'a volume is not named %j',
  async (name) => {
    const control = open()
    expect((await control.call('POST', '/v1/volumes', { name })).status).toBe(422)
    const volumes = [{ name: 'v', mountPath: '/v', pvc: { claimName: name } }]
    expect((await control.call('POST', '/v1/sandboxes', { ...MINIMAL, volumes })).status).toBe(422)
    expect(control.store.volumes.keys()).toEqual([])
  },
)

test('a volume is not removed while it is being made, and is made by one of those who ask at once', async () => {
  const control = open()
  let goOn = () => {}
  control.runtime.before = () => new Promise<void>((resolve) => (goOn = resolve))
  const making = control.call('POST', '/v1/volumes', { name: 'slow' })
  await expect.poll(() => control.runtime.calls.length).toBe(1)
  expect((await control.call('DELETE', '/v1/volumes/slow')).status).toBe(409)
  expect((await control.call('POST', '/v1/volumes', { name: 'slow' })).status).toBe(409)
  control.runtime.before = () => {}
  goOn()
  expect((await making).status).toBe(201)
  expect((await control.call('DELETE', '/v1/volumes/slow')).status).toBe(204)
  await settle(control)
  expect([control.store.volumes.keys(), control.runtime.volumeKeys.size]).toEqual([[], 0])
})

test('one that was asked for and not made goes after a while', async () => {
  let now = Date.UTC(2026, 0, 1)
  const control = open({ now: () => now })
  control.store.volumes.insert({
    tenant: 'default',
    name: 'half',
    lifetime: 'asked',
    createdBy: null,
    createdAt: now,
  })
  await settle(control)
  expect(await names(control)).toEqual(['half'])
  now += 61_000
  await settle(control)
  expect(control.store.volumes.keys()).toEqual([])
})

test('a volume that cannot be removed keeps its row, and is tried again', async () => {
  const control = open()
  await control.call('POST', '/v1/volumes', { name: 'stuck' })
  await control.call('DELETE', '/v1/volumes/stuck')
  control.runtime.before = (call) => {
    if (call === 'remove-volume') throw new Error('busy')
  }
  expect(await settle(control)).toEqual({ isDone: false })
  expect(control.store.volumes.keys()).toHaveLength(1)
  control.runtime.before = () => {}
  expect(await settle(control)).toEqual({ isDone: true })
  expect(control.store.volumes.keys()).toEqual([])
})

test('what only a cluster has is accepted with a warning', async () => {
  const control = open()
  const answer = await control.call('POST', '/v1/sandboxes', mounting('data', { storage: '10Gi' }))
  expect([answer.status, answer.headers.get('opensandbox-warning')]).toEqual([
    202,
    'volumes[0].pvc.storage has no effect on this runtime',
  ])
})

test.each([
  [{ cpu: '3' }, 'resourceLimits.cpu must be at most "2"'],
  [{ memory: '2Gi' }, 'resourceLimits.memory must be at most "1024Mi"'],
  [{ disk: '1Gi' }, 'resourceLimits.disk cannot be held here: no quotas'],
  [{ gpu: '1' }, 'resourceLimits.gpu cannot be given here: no card'],
  [{ cpu: 'abc' }, 'resourceLimits.cpu must be a number'],
  [{ memory: '1.5Gi' }, 'resourceLimits.memory must be a whole number'],
])(
  'S10: %j is more than this machine has, and is refused before anything is made',
  async (resourceLimits, message) => {
    const abilities = { cpus: 2, memoryBytes: 2 ** 30, disk: 'no quotas', gpus: 'no card' }
    const control = open({ runtime: { ...createFakeRuntime(), abilities } })
    const answer = await control.call('POST', '/v1/sandboxes', { ...mounting('data'), resourceLimits })
    expect([answer.status, answer.body.code]).toEqual([400, 'SANDBOX::INVALID_PARAMETER'])
    expect(answer.body.message).toContain(message)
    expect([control.store.all(), control.store.volumes.keys(), control.runtime.calls]).toEqual([[], [], []])
  },
)

test('the disk of a create that names none is the configured one, and a pool and its claims agree on it', async () => {
  const control = open({ life: { defaultDiskBytes: 2 ** 30 } })
  await create(control, MINIMAL)
  await create(control, { ...MINIMAL, resourceLimits: { disk: '2Gi' } })
  expect(control.runtime.specs.map(({ limits }) => limits)).toEqual([
    { diskBytes: 2 ** 30 },
    { diskBytes: 2 ** 31 },
  ])
})

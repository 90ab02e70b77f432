import { describe, expect, test } from 'vitest'
import { mostWarm } from '../../../control/pools/quota.ts'
import type { Quota } from '../../../control/store/schema.ts'
import { hashKey } from '../../../lib/access.ts'
import { byPool, capacity, makePool, openPools, SHAPE, statusOf, untilWarm } from './support.ts'

const KEYS = {
  apiKey: 'operator',
  keys: [
    { name: 'a', hash: hashKey('key-a'), role: 'member' as const, tenant: 'a' },
    { name: 'b', hash: hashKey('key-b'), role: 'member' as const, tenant: 'b' },
  ],
}
const as = (key: string) => ({ 'open-sandbox-api-key': key })

test('pools are made, read, listed, changed and removed', async () => {
  const control = openPools()
  const made = await makePool(control)
  expect(made.body).toEqual({
    name: 'p',
    capacitySpec: capacity(2),
    status: { total: 0, allocated: 0, available: 0, revision: expect.stringMatching(/^[0-9a-f]{16}$/) },
    createdAt: expect.any(String),
    tenant: 'default',
  })
  const again = await control.call('POST', '/pools', {
    name: 'p',
    template: SHAPE,
    capacitySpec: capacity(1),
  })
  expect([again.status, again.body.code]).toEqual([409, 'KUBERNETES::POOL_ALREADY_EXISTS'])
  await makePool(control, { name: 'a' })
  const list = (await control.call('GET', '/pools')).body as { items: { name: string }[] }
  expect(list.items.map(({ name }) => name)).toEqual(['a', 'p'])
  expect(Object.keys(list)).toEqual(['items'])
  const changed = await control.call('PUT', '/pools/p', { capacitySpec: capacity(1) })
  expect([changed.status, changed.body.capacitySpec]).toEqual([200, capacity(1)])
  const gone = await control.call('DELETE', '/pools/p')
  expect([gone.status, gone.text]).toEqual([204, ''])
  for (const [method, body] of [['GET'], ['DELETE'], ['PUT', { capacitySpec: capacity(1) }]] as const) {
    const missing = await control.call(method, '/pools/p', body)
    expect([missing.status, missing.body.code], method).toEqual([404, 'KUBERNETES::POOL_NOT_FOUND'])
  }
  const create = await control.call('POST', '/sandboxes', byPool('p'))
  expect([create.status, create.body.code]).toEqual([404, 'KUBERNETES::POOL_NOT_FOUND'])
})

test.each<[string, Record<string, unknown>, number, string]>([
  ['no name', { name: undefined }, 422, 'name'],
  ['a name of capitals', { name: 'P' }, 422, 'name'],
  ['no template', { template: undefined }, 422, 'template'],
  ['a template that is a text', { template: 'debian' }, 422, 'template'],
  ['an empty template', { template: {} }, 422, 'template.image'],
  [
    'limits that cannot be',
    { template: { ...SHAPE, resourceLimits: { cpu: '0' } } },
    400,
    'resourceLimits.cpu',
  ],
  [
    'a path that is not allowed',
    { template: { ...SHAPE, volumes: [{ name: 'v', mountPath: '/v', host: { path: '/x' } }] } },
    400,
    'volumes[0].host.path',
  ],
  ['half a capacity', { capacitySpec: { bufferMin: 1 } }, 422, 'capacitySpec.bufferMax'],
  ['a negative capacity', { capacitySpec: { ...capacity(1), poolMax: -1 } }, 422, 'capacitySpec.poolMax'],
  [
    'a buffer turned round',
    { capacitySpec: { ...capacity(1), bufferMin: 2 } },
    400,
    'capacitySpec.bufferMin',
  ],
  ['a pool turned round', { capacitySpec: { ...capacity(1), poolMin: 200 } }, 400, 'capacitySpec.poolMin'],
])('a pool is refused by name: %s', async (_name, change, status, field) => {
  const control = openPools()
  const body = { name: 'p', template: SHAPE, capacitySpec: capacity(1), ...change }
  const refused = await control.call('POST', '/pools', body)
  expect([refused.status, refused.body.message]).toEqual([status, expect.stringContaining(field)])
  expect((await control.call('GET', '/pools')).body).toEqual({ items: [] })
})

test('what a pod template has without effect is told at the create', async () => {
  const control = openPools()
  const template = { spec: { restartPolicy: 'Always', containers: [{ image: 'debian' }] } }
  const made = await makePool(control, { template })
  expect(made.headers.get('opensandbox-warning')).toContain('spec.restartPolicy')
})

test('tenants have pools of their own, and the operator names any', async () => {
  const control = openPools({ access: KEYS })
  await makePool(control, {}, as('key-a'))
  expect((await control.call('GET', '/pools/p', undefined, as('key-b'))).status).toBe(404)
  expect((await control.call('DELETE', '/pools/p', undefined, as('key-b'))).status).toBe(404)
  expect((await control.call('GET', '/pools', undefined, as('key-b'))).body).toEqual({ items: [] })
  expect((await control.call('GET', '/pools?tenant=a', undefined, as('key-b'))).status).toBe(403)
  await makePool(control, { template: { ...SHAPE, image: 'alpine' } }, as('key-b'))
  await untilWarm(control, 2, '/v1/pools/p', as('key-a'))
  await untilWarm(control, 2, '/v1/pools/p', as('key-b'))

  const [ofA, ofB] = await Promise.all(
    ['key-a', 'key-b'].map((key) => control.call('POST', '/sandboxes', byPool('p'), as(key))),
  )
  expect(control.store.get(String(ofA?.body.id))).toMatchObject({
    tenant: 'a',
    createdBy: 'a',
    image: 'debian',
  })
  expect(control.store.get(String(ofB?.body.id))).toMatchObject({
    tenant: 'b',
    createdBy: 'b',
    image: 'alpine',
  })
  // A pool gives nothing to another tenant that asks for the same shape.
  const like = { ...SHAPE, image: { uri: 'alpine' } }
  expect((await control.call('POST', '/sandboxes', like, as('key-a'))).body.allocation).toBeUndefined()

  const all = (await control.call('GET', '/pools', undefined, as('operator'))).body as {
    items: { tenant: string }[]
  }
  expect(all.items.map(({ tenant }) => tenant)).toEqual(['a', 'b'])
  expect((await control.call('GET', '/pools/p?tenant=a', undefined, as('operator'))).status).toBe(200)
  expect((await control.call('GET', '/pools/p', undefined, as('operator'))).status).toBe(404)
  expect((await control.call('DELETE', '/pools/p?tenant=b', undefined, as('operator'))).status).toBe(204)
  expect((await control.call('GET', '/pools/p', undefined, as('key-a'))).body.tenant).toBeUndefined()
  expect(await statusOf(control, '/v1/pools/p', as('key-a'))).toMatchObject({ allocated: 1 })
})

describe('the pools of a tenant keep no more warm than its quota has', () => {
  const shape = { ...SHAPE, resourceLimits: { cpu: '2', memory: '1Gi' } }
  const wanted = (name: string, places: number) => ({ name, template: shape, capacitySpec: capacity(places) })
  const open = (quota: Quota) => openPools({ access: { ...KEYS, quotas: { default: quota, tenants: {} } } })

  test.each<[Quota, string]>([
    [{ sandboxes: 5 }, 'as much as its quota has, 5 sandboxes, and this makes it 6'],
    [{ nanoCpus: 10e9 }, 'as much as its quota has, 10 CPUs, and this makes it 12'],
    [
      { memoryBytes: 5 * 2 ** 30 },
      'as much as its quota has, 5368709120 bytes of memory, and this makes it 6442450944',
    ],
  ])('%j: all together, when one is made and when one grows', async (quota, message) => {
    const control = open(quota)
    const refused = {
      status: 403,
      body: { code: 'KUBERNETES::QUOTA_EXCEEDED', message: expect.stringContaining(message) },
    }
    expect((await control.call('POST', '/pools', wanted('one', 3), as('key-a'))).status).toBe(201)
    expect(await control.call('POST', '/pools', wanted('two', 3), as('key-a'))).toMatchObject(refused)
    expect((await control.call('POST', '/pools', wanted('two', 2), as('key-a'))).status).toBe(201)
    const larger = { capacitySpec: capacity(3) }
    expect(await control.call('PUT', '/pools/two', larger, as('key-a'))).toMatchObject(refused)
    const smaller = { capacitySpec: capacity(1) }
    expect((await control.call('PUT', '/pools/two', smaller, as('key-a'))).status).toBe(200)
    // Another's are another's, and an operator gives what an operator likes.
    expect((await control.call('POST', '/pools', wanted('one', 5), as('key-b'))).status).toBe(201)
    expect((await control.call('PUT', '/pools/two?tenant=a', larger, as('operator'))).status).toBe(200)
  })

  test('also when the quota is made smaller afterwards; what the operator has given stays', async () => {
    const control = open({ sandboxes: 9 })
    for (const [name, places] of [
      ['one', 4],
      ['two', 3],
    ] as const)
      expect((await control.call('POST', '/pools', wanted(name, places), as('key-a'))).status).toBe(201)
    const given = { capacitySpec: capacity(2) }
    await control.call('POST', '/pools', wanted('given', 1), as('key-a'))
    await control.call('PUT', '/pools/given?tenant=a', given, as('operator'))
    const warm = (name: string) => statusOf(control, `/v1/pools/${name}`, as('key-a'))
    const quota = (sandboxes: number) =>
      control.call('PUT', '/admin/tenants/a/quota', { sandboxes }, as('operator'))
    await untilWarm(control, 4, '/v1/pools/one', as('key-a'))
    await quota(5)
    await control.call('PUT', '/pools/given', given, as('key-a'))
    await untilWarm(control, 1, '/v1/pools/two', as('key-a'))
    expect(await warm('two')).toMatchObject({ message: 'The quota of its tenant lets it keep 1 warm' })
    await untilWarm(control, 4, '/v1/pools/one', as('key-a'))
    await untilWarm(control, 2, '/v1/pools/given', as('key-a'))
    await quota(7)
    await control.call('PUT', '/pools/given', given, as('key-a'))
    await untilWarm(control, 3, '/v1/pools/two', as('key-a'))
    expect(await warm('two')).not.toHaveProperty('message')
  })

  test('of what is counted, each must say how much it is', async () => {
    const control = open({ memoryBytes: 5 * 2 ** 30 })
    const pool = { ...wanted('one', 1), template: { ...SHAPE, resourceLimits: { cpu: '1' } } }
    const { status, body } = await control.call('POST', '/pools', pool, as('key-a'))
    expect([status, body.message]).toEqual([403, expect.stringContaining('resourceLimits.memory')])
    const none = { ...pool, capacitySpec: capacity(0) }
    expect((await control.call('POST', '/pools', none, as('key-a'))).status).toBe(201)
  })

  test.each([
    [{ bufferMin: 1, bufferMax: 3, poolMin: 0, poolMax: 9 }, 3],
    [{ bufferMin: 1, bufferMax: 3, poolMin: 5, poolMax: 9 }, 5],
    [{ bufferMin: 1, bufferMax: 30, poolMin: 5, poolMax: 9 }, 9],
  ])('mostWarm(%j)', (spec, most) => {
    expect(mostWarm(spec)).toBe(most)
  })
})

// Claims: one sandbox to one caller, as it was asked for, and nothing visible of it before.

import { describe, expect, test } from 'vitest'
import { parseEnvironmentFile } from '../../../execd/command/environment.ts'
import { waitFor } from '../../support/wait-for.ts'
import {
  byPool,
  capacity,
  LIKE_SHAPE,
  makePool,
  openPools,
  running,
  SHAPE,
  statusOf,
  untilWarm,
} from './support.ts'

const OK = { status: 200, contentType: 'application/json', body: Buffer.from('{}') }

test('P10: a create by poolRef is given a sandbox that was made before, and it is the caller’s like any other', async () => {
  let at = 1_000_000
  const control = openPools({ now: () => at })
  await makePool(control)
  await untilWarm(control, 2)
  const [oldest] = control.store.all().sort((one, other) => one.createdAt - other.createdAt)
  const made = running(control)
  at = 2_000_000
  const claimed = await control.call('POST', '/v1/sandboxes', {
    ...byPool('p', { metadata: { team: 'a' }, timeout: 60 }),
    extensions: { poolRef: ' p ', 'opensandbox.extensions.x': 'y' },
  })
  expect([claimed.status, claimed.body]).toEqual([
    202,
    {
      id: expect.any(String),
      status: { state: 'Running', reason: 'CONTAINER_RUNNING', lastTransitionAt: expect.any(String) },
      metadata: { team: 'a' },
      extensions: { 'opensandbox.extensions.x': 'y' },
      allocation: { mode: 'pool', poolRef: 'p', state: 'allocated' },
      expiresAt: '1970-01-01T00:34:20Z',
      createdAt: '1970-01-01T00:33:20Z',
      entrypoint: ['sleep', '9'],
    },
  ])
  const id = String(claimed.body.id)
  expect(made).toContain(id)
  expect(control.store.get(id)).toMatchObject({
    createdBy: 'local',
    tenant: 'default',
    warm: false,
    hidden: false,
  })
  expect(oldest?.warm).toBe(true)
  const list = await control.call('GET', '/v1/sandboxes?metadata=team%3Da')
  expect(list.body.items).toEqual([expect.objectContaining({ id, image: { uri: 'debian' } })])
  // For its owner it begins with the claim.
  const history = (await control.call('GET', `/v1/sandboxes/${id}/history`)).body.items as { type: string }[]
  expect(history.map(({ type }) => type)).toEqual(['claimed', 'state'])
  await untilWarm(control, 2)
  expect(await statusOf(control)).toMatchObject({ total: 3, allocated: 1, available: 2 })
  expect((await control.call('DELETE', `/v1/sandboxes/${id}`)).status).toBe(204)
  expect(await statusOf(control)).toMatchObject({ total: 2, allocated: 0 })
})

test('warm sandboxes are nobody’s: not listed, not found, in no stream of events', async () => {
  const control = openPools()
  await makePool(control)
  await untilWarm(control, 2)
  expect((await control.call('GET', '/v1/sandboxes')).body.items).toEqual([])
  const [id] = running(control)
  for (const [method, path] of [
    ['GET', ''],
    ['DELETE', ''],
    ['GET', '/endpoints/44772'],
    ['POST', '/pause'],
  ])
    expect((await control.call(method ?? '', `/v1/sandboxes/${id}${path}`)).status, path).toBe(404)
  expect(control.store.events.after(0, { limit: 10 })).toEqual([])
  await control.call('DELETE', '/v1/pools/p')
  await waitFor(() => expect(running(control)).toEqual([]))
  expect(control.store.events.after(0, { limit: 10 })).toEqual([])
  expect(control.store.past(id ?? '')).toBeUndefined()
})

test('twenty creates at once get twenty sandboxes, warm ones first, and never more than poolMax', async () => {
  const control = openPools({ poolWaitMs: 5000 })
  await makePool(control, { capacitySpec: capacity(5, 20) })
  await untilWarm(control, 5)
  const warm = running(control)
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => control.call('POST', '/v1/sandboxes', byPool('p'))),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 202))
  const ids = answers.map(({ body }) => String(body.id))
  expect(new Set(ids).size).toBe(20)
  for (const id of warm) expect(ids).toContain(id)
  expect(await statusOf(control)).toMatchObject({ total: 20, allocated: 20, available: 0 })
  expect(running(control)).toEqual([...ids].sort())
})

test('a pool that has given all says so after a while, and gives again when one comes back', async () => {
  const control = openPools()
  await makePool(control, { capacitySpec: capacity(1, 1) })
  await untilWarm(control, 1)
  const first = await control.call('POST', '/v1/sandboxes', byPool('p'))
  const refused = await control.call('POST', '/v1/sandboxes', byPool('p'))
  expect([refused.status, refused.body.code, refused.headers.get('retry-after')]).toEqual([
    429,
    'KUBERNETES::POOL_CAPACITY_EXHAUSTED',
    '1',
  ])
  const patient = openPools({ poolWaitMs: 5000 })
  await makePool(patient, { capacitySpec: capacity(1, 1) })
  const taken = await patient.call('POST', '/v1/sandboxes', byPool('p'))
  const waiting = patient.call('POST', '/v1/sandboxes', byPool('p'))
  await patient.call('DELETE', `/v1/sandboxes/${taken.body.id}`)
  expect((await waiting).status).toBe(202)
  expect(first.status).toBe(202)
})

test('a pool with nothing warm makes one as long as there is room, with the variables of the request', async () => {
  const control = openPools()
  await makePool(control, {
    template: { ...SHAPE, env: { A: 'pool', B: 'pool' } },
    capacitySpec: { bufferMin: 0, bufferMax: 0, poolMin: 0, poolMax: 1 },
  })
  const made = await control.call('POST', '/v1/sandboxes', byPool('p', { env: { B: 'mine' } }))
  expect([made.status, made.body.allocation]).toEqual([
    202,
    { mode: 'pool', poolRef: 'p', state: 'allocated' },
  ])
  expect(control.runtime.specs.at(-1)?.env).toEqual({ A: 'pool', B: 'mine' })
  expect((await control.call('POST', '/v1/sandboxes', byPool('p'))).status).toBe(429)
})

describe('what a claim asks for', () => {
  test('a policy is in force before anybody sees the sandbox', async () => {
    const asked: unknown[] = []
    const control = openPools({
      askEgress: async ({ id, method, token, body }) => {
        const row = control.store.get(id)
        expect(row).toMatchObject({ hidden: true, warm: false, egressToken: token })
        expect((await control.call('GET', `/v1/sandboxes/${id}`)).status).toBe(404)
        asked.push([method, JSON.parse(Buffer.from(body ?? []).toString())])
        return OK
      },
    })
    await makePool(control)
    await untilWarm(control, 2)
    const networkPolicy = { egress: [{ action: 'allow', target: 'a.example' }] }
    const claimed = await control.call('POST', '/v1/sandboxes', byPool('p', { networkPolicy }))
    expect(claimed.status).toBe(202)
    expect(asked).toEqual([['PUT', { defaultAction: 'deny', ...networkPolicy }]])
    expect((await control.call('POST', '/v1/sandboxes', byPool('p'))).status).toBe(202)
    expect(asked).toHaveLength(1)
  })

  test('when the policy cannot be put in force nobody gets a sandbox, and what was tried is replaced', async () => {
    const control = openPools({ askEgress: async () => ({ ...OK, status: 503 }) })
    await makePool(control)
    await untilWarm(control, 2)
    const before = running(control)
    const refused = await control.call('POST', '/v1/sandboxes', byPool('p', { networkPolicy: {} }))
    expect([refused.status, refused.body.code]).toEqual([500, 'DOCKER::SANDBOX_START_FAILED'])
    expect((await control.call('GET', '/v1/sandboxes')).body.items).toEqual([])
    await waitFor(() => expect(running(control).filter((id) => before.includes(id))).toEqual([]))
    await untilWarm(control, 2)
  })

  test('variables go to later commands by execd’s file, as they are', async () => {
    const runs: { line: string; envs?: Record<string, string> }[] = []
    const control = openPools({
      execd: {
        run: async (_target, command) => {
          if (command.line !== ':') runs.push(command)
          return { ok: true }
        },
      },
    })
    await makePool(control, { template: { ...SHAPE, env: { SAME: 'as before' } } })
    await untilWarm(control, 2)
    const env = {
      SAME: 'as before',
      PLAIN: 'a b',
      QUOTES: `it's "x" \\ $HOME`,
      LINES: 'one\ntwo',
      TICK: "'\n'",
    }
    expect((await control.call('POST', '/v1/sandboxes', byPool('p', { env }))).status).toBe(202)
    expect(runs).toEqual([
      { line: 'printf %s "$OPENSANDBOX_CLAIM_ENV" >> "$EXECD_ENVS"', envs: expect.anything() },
    ])
    const { SAME: _, ...added } = env
    expect(parseEnvironmentFile(runs[0]?.envs?.OPENSANDBOX_CLAIM_ENV ?? '', { HOME: 'no' })).toEqual(added)
  })

  test.each<[string, Record<string, unknown>, number, string]>([
    ['another image', { image: { uri: 'alpine' } }, 400, 'image differs'],
    ['another entrypoint', { entrypoint: ['cat'] }, 400, 'entrypoint differs'],
    ['other limits', { resourceLimits: { cpu: '2' } }, 400, 'resourceLimits differs'],
    ['a login', { image: { uri: 'debian', auth: { username: 'u', password: 'p' } } }, 400, 'image.auth'],
    ['volumes', { volumes: [] }, 400, 'volumes'],
    ['a platform', { platform: { os: 'linux', arch: 'amd64' } }, 400, 'platform'],
    ['a variable of no shell', { env: { 'a-b': '1' } }, 400, 'env'],
    ['variables without end', { env: { A: 'x'.repeat(100_001) } }, 400, 'env'],
    ['a reserved variable', { env: { OPENSANDBOX_EGRESS_TOKEN: 'x' } }, 400, 'env'],
    ['a template', { templateId: 'tpl', timeout: 60 }, 400, 'templateId'],
    [
      'a policy of nonsense',
      { networkPolicy: { egress: [{ action: 'allow', target: '1.2.3' }] } },
      400,
      'networkPolicy',
    ],
    ['hooks', { lifecycle: { preStart: { command: ['a'] } } }, 422, 'lifecycle'],
  ])('is refused by name when the pool cannot give it: %s', async (_name, more, status, field) => {
    const control = openPools()
    await makePool(control)
    await untilWarm(control, 2)
    const refused = await control.call('POST', '/v1/sandboxes', byPool('p', more))
    expect([refused.status, refused.body.message]).toEqual([status, expect.stringContaining(field)])
    expect(await statusOf(control)).toMatchObject({ allocated: 0 })
  })

  test('what SDKs send when their user said nothing does not count', async () => {
    const control = openPools()
    await makePool(control)
    await untilWarm(control, 2)
    const claimed = await control.call('POST', '/v1/sandboxes', {
      ...byPool('p'),
      image: { uri: 'debian' },
      entrypoint: ['tail', '-f', '/dev/null'],
      resourceLimits: { cpu: '1', memory: '2Gi' },
      env: {},
      metadata: {},
      secureAccess: false,
    })
    expect([claimed.status, claimed.body.entrypoint]).toEqual([202, SHAPE.entrypoint])
  })
})

describe('a create without poolRef', () => {
  test('gets a warm sandbox when it asks for just what a pool keeps', async () => {
    const control = openPools()
    await makePool(control)
    await untilWarm(control, 2)
    const warm = running(control)
    const claimed = await control.call('POST', '/v1/sandboxes', {
      ...LIKE_SHAPE,
      metadata: { a: 'b' },
      timeout: 600,
    })
    expect(warm).toContain(claimed.body.id)
    expect(claimed.body).toMatchObject({ metadata: { a: 'b' }, allocation: { poolRef: 'p' } })
  })

  test('gets one that is closed to others when it asks for that', async () => {
    const control = openPools()
    await makePool(control)
    await untilWarm(control, 2)
    const warm = running(control)
    const asked = { secureAccess: true, extensions: { 'access.wake.on.request': 'always' } }
    const claimed = await control.call('POST', '/v1/sandboxes', { ...LIKE_SHAPE, ...asked })
    expect(warm).toContain(claimed.body.id)
    expect(control.store.get(String(claimed.body.id))).toMatchObject({
      accessToken: expect.stringMatching(/^[\w-]{32}$/),
      wake: 'always',
    })
  })

  test.each<[string, Record<string, unknown>]>([
    ['another image', { image: { uri: 'alpine' } }],
    ['a login, which has to be proved', { image: { uri: 'debian', auth: { username: 'u', password: 'p' } } }],
    ['another entrypoint', { entrypoint: ['sleep', '10'] }],
    ['other limits', { resourceLimits: { cpu: '1' } }],
    ['variables', { env: { A: 'b' } }],
    ['a policy', { networkPolicy: {} }],
    ['volumes', { volumes: [{ name: 'v', mountPath: '/v', host: { path: '/srv/v' } }] }],
    ['a hook', { lifecycle: { preStart: { command: ['a'] } } }],
    ['isolation', { extensions: { 'bootstrap.execd.isolation': 'enable' } }],
  ])('gets one of its own for %s', async (_name, more) => {
    const control = openPools({ life: { allowedHostPaths: ['/srv'], allowIsolatedSessions: true } })
    await makePool(control)
    await untilWarm(control, 2)
    const warm = running(control)
    const made = await control.call('POST', '/v1/sandboxes', { ...LIKE_SHAPE, ...more })
    expect(made.status).toBe(202)
    expect(warm).not.toContain(made.body.id)
    expect(made.body.allocation).toBeUndefined()
  })

  test('gets one of its own when none is warm, and the pool keeps its places', async () => {
    const control = openPools()
    await makePool(control, { capacitySpec: capacity(0, 1) })
    const made = await control.call('POST', '/v1/sandboxes', LIKE_SHAPE)
    expect([made.status, made.body.allocation]).toEqual([202, undefined])
    expect(await statusOf(control)).toMatchObject({ total: 0 })
  })
})

test('`*` takes from the pools that fit, the least used first', async () => {
  const control = openPools()
  await makePool(control, { name: 'other', template: { ...SHAPE, image: 'alpine' } })
  await makePool(control, { name: 'busy' })
  await makePool(control, { name: 'idle' })
  for (const name of ['other', 'busy', 'idle']) await untilWarm(control, 2, `/v1/pools/${name}`)
  await control.call('POST', '/v1/sandboxes', byPool('busy'))
  const any = await control.call('POST', '/v1/sandboxes', byPool('*', { image: { uri: 'debian' } }))
  expect(any.body.allocation).toMatchObject({ poolRef: 'idle' })
  const none = await control.call('POST', '/v1/sandboxes', byPool('*', { image: { uri: 'fedora' } }))
  expect([none.status, none.body.code]).toEqual([404, 'KUBERNETES::POOL_NOT_FOUND'])
})

test('quotas count at the claim, and warm sandboxes do not', async () => {
  const control = openPools({
    access: { quotas: { default: { sandboxes: 1, createsPerMinute: 2 }, tenants: {} } },
  })
  await makePool(control)
  await untilWarm(control, 2)
  const first = await control.call('POST', '/v1/sandboxes', byPool('p'))
  expect(first.status).toBe(202)
  const second = await control.call('POST', '/v1/sandboxes', byPool('p'))
  expect([second.status, second.body.code]).toEqual([403, 'KUBERNETES::QUOTA_EXCEEDED'])
  await control.call('DELETE', `/v1/sandboxes/${first.body.id}`)
  expect((await control.call('POST', '/v1/sandboxes', byPool('p'))).status).toBe(202)
  const fourth = await control.call('POST', '/v1/sandboxes', byPool('p'))
  expect([fourth.status, fourth.body.code]).toEqual([429, 'GENERAL::TOO_MANY_REQUESTS'])
  await untilWarm(control, 2)
  expect(await statusOf(control)).toMatchObject({ allocated: 1, available: 2 })
})

test('one that has ended and was not reported yet is not given out', async () => {
  const control = openPools()
  await makePool(control)
  await untilWarm(control, 2)
  const dead = control.store
    .all()
    .sort((one, other) => one.createdAt - other.createdAt || (one.id < other.id ? -1 : 1))
    .at(0)?.id
  if (!dead) throw new Error('The pool is empty')
  control.runtime.sandboxes.set(dead, { id: dead, state: 'exited', exitCode: 137 })
  const claimed = await control.call('POST', '/v1/sandboxes', byPool('p'))
  expect([claimed.status, claimed.body.id === dead]).toEqual([202, false])
  await waitFor(() => expect(control.store.get(dead)).toBeUndefined())
})

test('a caller that leaves while it is served gets nothing, and nothing is left of it', async () => {
  const left = new AbortController()
  const control = openPools({
    askEgress: async ({ signal }) => {
      left.abort()
      signal.throwIfAborted()
      return OK
    },
  })
  await makePool(control)
  await untilWarm(control, 2)
  const response = await control.app.request('http://localhost/v1/sandboxes', {
    method: 'POST',
    headers: { host: 'localhost:8080', 'content-type': 'application/json' },
    body: JSON.stringify(byPool('p', { networkPolicy: {} })),
    signal: left.signal,
  })
  expect(response.status).toBe(409)
  await untilWarm(control, 2)
  expect(await statusOf(control)).toMatchObject({ total: 2, allocated: 0 })
})

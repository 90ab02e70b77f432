// Who may do what: keys made, rotated and revoked, roles, tenants that do not see each other, quotas, and the audit of it all.

import { expect, onTestFinished, test } from 'vitest'
import { overQuota } from '../../control/access/quotas.ts'
import { hashKey } from '../../lib/access.ts'
import { type ControlApp, type ControlAppOptions, createControlApp, MINIMAL } from '../support/control-app.ts'

const ROOT = { 'open-sandbox-api-key': 'root-key' }
const LIMITED = { ...MINIMAL, resourceLimits: { cpu: '1', memory: '1Gi' } }

function open(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp({ access: { apiKey: 'root-key' }, ...options })
  onTestFinished(control.close)
  return control
}

async function makeKey(control: ControlApp, body: object, as: Record<string, string> = ROOT) {
  const made = await control.call('POST', '/v1/admin/keys', body, as)
  expect(made.status, made.text).toBe(201)
  return {
    id: String(made.body.id),
    secret: String(made.body.key),
    headers: { 'open-sandbox-api-key': String(made.body.key) },
  }
}

test('a key is shown once, kept as a hash, listed without its secret, and opens until it is revoked', async () => {
  const control = open()
  const { id, secret, headers } = await makeKey(control, { name: 'ci', role: 'member', tenant: 'red' })
  expect(secret).toMatch(/^osb_[0-9a-f]{64}$/)
  expect((await control.call('GET', '/sandboxes', undefined, headers)).status).toBe(200)
  const list = await control.call('GET', '/admin/keys', undefined, ROOT)
  expect(list.body.items).toEqual([
    expect.objectContaining({ id, name: 'ci', role: 'member', tenant: 'red', createdBy: 'default' }),
  ])
  expect(list.text).not.toContain(secret)
  expect(list.text).not.toContain(hashKey(secret))
  expect(control.store.database.raw.prepare('SELECT hash FROM api_keys').all()).toEqual([
    { hash: hashKey(secret) },
  ])
  expect((await control.call('DELETE', `/admin/keys/${id}`, undefined, ROOT)).status).toBe(204)
  const refused = await control.call('GET', '/sandboxes', undefined, headers)
  expect([refused.status, refused.body.code]).toEqual([401, 'INVALID_API_KEY'])
})

test('a rotated key has a successor of the same name and rights; the old one opens for its grace', async () => {
  let now = 1_000_000
  const control = open({ now: () => now })
  const old = await makeKey(control, { name: 'ci', tenant: 'red' })
  const rotated = await control.call('POST', `/admin/keys/${old.id}/rotate`, { graceSeconds: 60 }, ROOT)
  expect(rotated.body).toMatchObject({ name: 'ci', role: 'member', tenant: 'red' })
  const status = async (key: string) =>
    (await control.call('GET', '/sandboxes', undefined, { 'open-sandbox-api-key': key })).status
  expect([await status(old.secret), await status(String(rotated.body.key))]).toEqual([200, 200])
  now += 60_001
  expect([await status(old.secret), await status(String(rotated.body.key))]).toEqual([401, 200])
  const again = await control.call('POST', `/admin/keys/${old.id}/rotate`, undefined, ROOT)
  expect([again.status, again.body.code]).toEqual([409, 'GENERAL::CONFLICT'])
})

test('S19: a replaced key is closed at once by its revocation, whatever grace it had', async () => {
  const now = 1_000_000
  const control = open({ now: () => now })
  const old = await makeKey(control, { name: 'ci' })
  await control.call('POST', `/admin/keys/${old.id}/rotate`, { graceSeconds: 600 }, ROOT)
  expect((await control.call('GET', '/sandboxes', undefined, old.headers)).status).toBe(200)
  expect((await control.call('DELETE', `/admin/keys/${old.id}`, undefined, ROOT)).status).toBe(204)
  expect((await control.call('GET', '/sandboxes', undefined, old.headers)).status).toBe(401)
})

test('S19: a revoked key stays closed when the clock is set back, and keys are read anew', async () => {
  let now = 10_000_000
  const control = open({ now: () => now })
  const [revoked, replaced] = [await makeKey(control, { name: 'a' }), await makeKey(control, { name: 'b' })]
  await control.call('DELETE', `/admin/keys/${revoked.id}`, undefined, ROOT)
  await control.call('POST', `/admin/keys/${replaced.id}/rotate`, { graceSeconds: 0 }, ROOT)
  now -= 3_600_000
  await makeKey(control, { name: 'c' })
  for (const { headers } of [revoked, replaced])
    expect((await control.call('GET', '/sandboxes', undefined, headers)).status).toBe(401)
})

test('a key expires', async () => {
  let now = Date.parse('2026-01-01T00:00:00Z')
  const control = open({ now: () => now })
  const { headers } = await makeKey(control, { name: 'short', expiresAt: '2026-01-01T00:01:00Z' })
  expect((await control.call('GET', '/sandboxes', undefined, headers)).status).toBe(200)
  now += 60_000
  expect((await control.call('GET', '/sandboxes', undefined, headers)).status).toBe(401)
})

test('the first key that is made closes a server that was open to this machine', async () => {
  const control = open({ access: {} })
  const { headers } = await makeKey(control, { name: 'first', role: 'admin' }, {})
  expect((await control.call('GET', '/sandboxes')).body.code).toBe('MISSING_API_KEY')
  expect((await control.call('GET', '/sandboxes', undefined, headers)).status).toBe(200)
})

test.each([
  ['read-only', 'POST', '/sandboxes', 403],
  ['read-only', 'GET', '/sandboxes', 200],
  ['read-only', 'DELETE', '/sandboxes/x', 403],
  ['read-only', 'GET', '/admin/keys', 403],
  ['member', 'POST', '/sandboxes', 202],
  ['member', 'GET', '/admin/audit', 403],
  ['member', 'POST', '/admin/keys', 403],
  ['admin', 'GET', '/admin/keys', 200],
  ['admin', 'POST', '/sandboxes', 202],
])('a key of role %s: %s %s answers %i', async (role, method, path, status) => {
  const control = open()
  const { headers } = await makeKey(control, { name: 'k', role })
  const answer = await control.call(method, path, method === 'POST' ? MINIMAL : undefined, headers)
  expect(answer.status).toBe(status)
  if (status === 403) expect(answer.body.code).toBe('GENERAL::FORBIDDEN')
})

test('tenants do not see each other: on no route, in no list; the operator sees all', async () => {
  const control = open()
  const red = (await makeKey(control, { name: 'red', tenant: 'red' })).headers
  const blue = (await makeKey(control, { name: 'blue', tenant: 'blue' })).headers
  const made = await control.call('POST', '/sandboxes', MINIMAL, red)
  const id = String(made.body.id)
  for (const [method, path, body] of [
    ['GET', `/sandboxes/${id}`],
    ['DELETE', `/sandboxes/${id}`],
    ['PATCH', `/sandboxes/${id}/metadata`, {}],
    ['POST', `/sandboxes/${id}/pause`],
    ['POST', `/sandboxes/${id}/resume`],
    ['POST', `/sandboxes/${id}/renew-expiration`, { expiresAt: '2999-01-01T00:00:00Z' }],
    ['POST', `/sandboxes/${id}/snapshots`, {}],
    ['GET', `/sandboxes/${id}/endpoints/44772`],
    ['GET', `/sandboxes/${id}/networkpolicy`],
    ['GET', `/sandboxes/${id}/diagnostics/events`],
    ['GET', `/sandboxes/${id}/diagnostics/logs`],
    ['GET', `/sandboxes/${id}/diagnostics/inspect`],
    ['GET', `/sandboxes/${id}/diagnostics/summary`],
  ] as const) {
    const answer = await control.call(method, path, body, blue)
    expect([path, answer.status, answer.body.code]).toEqual([path, 404, 'DOCKER::SANDBOX_NOT_FOUND'])
  }
  const ids = async (headers: Record<string, string>) => {
    const { body } = await control.call('GET', '/sandboxes', undefined, headers)
    return (body.items as { id: string }[]).map((item) => item.id)
  }
  expect([await ids(red), await ids(blue), await ids(ROOT)]).toEqual([[id], [], [id]])
  expect((await control.call('DELETE', `/sandboxes/${id}`, undefined, ROOT)).status).toBe(204)
})

test("an admin of a tenant has the tenant's keys and audit, and no one else's", async () => {
  const control = open()
  const boss = (await makeKey(control, { name: 'boss', role: 'admin', tenant: 'red' })).headers
  const other = await makeKey(control, { name: 'other', tenant: 'blue' })
  const own = await control.call('POST', '/admin/keys', { name: 'mine' }, boss)
  expect(own.body).toMatchObject({ tenant: 'red', role: 'member' })
  for (const [method, path, body] of [
    ['POST', '/admin/keys', { name: 'x', tenant: 'blue' }],
    ['GET', '/admin/audit?tenant=blue'],
    ['GET', '/admin/tenants/blue'],
    ['PUT', '/admin/tenants/red/quota', {}],
  ] as const)
    expect((await control.call(method, path, body, boss)).body.code).toBe('GENERAL::FORBIDDEN')
  for (const method of ['DELETE', 'POST'])
    expect(
      (
        await control.call(
          method,
          `/admin/keys/${other.id}${method === 'POST' ? '/rotate' : ''}`,
          undefined,
          boss,
        )
      ).status,
    ).toBe(404)
  const keys = (await control.call('GET', '/admin/keys', undefined, boss)).body.items as { name: string }[]
  expect(keys.map(({ name }) => name)).toEqual(['boss', 'mine'])
})

test.each([
  [{ name: '' }, 'name'],
  [{ name: 'a b' }, 'name'],
  [{ name: 'k', role: 'root' }, 'role'],
  [{ name: 'k', tenant: 'Red' }, 'tenant'],
  [{ name: 'k', expiresAt: 'soon' }, 'expiresAt'],
  [{ name: 'k', expiresAt: '2001-01-01T00:00:00Z' }, 'expiresAt'],
  [{ name: 'k', extra: 1 }, 'extra'],
])('a key as %j is refused with the field', async (body, field) => {
  const answer = await open().call('POST', '/admin/keys', body, ROOT)
  expect([answer.status, answer.body.code]).toEqual([422, 'GENERAL::INVALID_REQUEST'])
  expect(String(answer.body.message)).toContain(field)
})

test('a quota counts what lives, names what is missing, and is told with what is used', async () => {
  const control = open()
  const { headers } = await makeKey(control, { name: 'red', tenant: 'red' })
  const quota = { sandboxes: 2, cpu: 1.5, memoryBytes: 4 * 2 ** 30 }
  const set = await control.call('PUT', '/admin/tenants/red/quota', quota, ROOT)
  const kept = { snapshots: 0, snapshotBytes: 0, volumes: 0, volumeBytes: 0 }
  expect(set.body).toEqual({
    name: 'red',
    quota,
    used: { sandboxes: 0, cpu: 0, memoryBytes: 0, ...kept },
  })
  const create = (body: object) => control.call('POST', '/sandboxes', body, headers)
  expect((await create(MINIMAL)).body.message).toContain('resourceLimits.cpu is required')
  const first = await create(LIMITED)
  expect(first.status).toBe(202)
  const second = await create(LIMITED)
  expect([second.status, second.body.code]).toEqual([403, 'KUBERNETES::QUOTA_EXCEEDED'])
  expect(second.body.message).toContain('at most 1.5 CPUs; 1 are in use and 1 more are asked for')
  expect((await control.call('GET', '/admin/tenants/red', undefined, ROOT)).body.used).toEqual({
    sandboxes: 1,
    cpu: 1,
    memoryBytes: 2 ** 30,
    ...kept,
  })
  await control.call('DELETE', `/sandboxes/${first.body.id}`, undefined, headers)
  expect((await create(LIMITED)).status).toBe(202)
  // Another tenant is not concerned.
  expect((await control.call('POST', '/sandboxes', MINIMAL, ROOT)).status).toBe(202)
})

test('two creates at once cannot both take the last place', async () => {
  const control = open({ access: { apiKey: 'root-key', quotas: { default: { sandboxes: 1 }, tenants: {} } } })
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => control.call('POST', '/sandboxes', MINIMAL, ROOT)),
  )
  expect(answers.map(({ status }) => status).sort()).toEqual([202, 403, 403, 403, 403])
})

test('creates beyond the rate are answered 429 with when to come back', async () => {
  let now = 1_000_000
  const control = open({
    now: () => now,
    access: { apiKey: 'root-key', quotas: { default: {}, tenants: { default: { createsPerMinute: 2 } } } },
  })
  const create = () => control.call('POST', '/sandboxes', MINIMAL, ROOT)
  expect((await create()).status).toBe(202)
  now += 20_000
  expect((await create()).status).toBe(202)
  const late = await create()
  expect([late.status, late.body.code, late.headers.get('retry-after')]).toEqual([
    429,
    'GENERAL::TOO_MANY_REQUESTS',
    '40',
  ])
  now += 40_000
  expect((await create()).status).toBe(202)
})

test.each([
  [{ sandboxes: 1 }, { sandboxes: 1, nanoCpus: 0, memoryBytes: 0 }, {}, 'at most 1 sandboxes'],
  [{ sandboxes: 1 }, { sandboxes: 0, nanoCpus: 0, memoryBytes: 0 }, {}, undefined],
  [{ nanoCpus: 2e9 }, { sandboxes: 0, nanoCpus: 1e9, memoryBytes: 0 }, { nanoCpus: 1e9 }, undefined],
  [
    { nanoCpus: 2e9 },
    { sandboxes: 0, nanoCpus: 1e9, memoryBytes: 0 },
    { nanoCpus: 1e9 + 1 },
    'at most 2 CPUs',
  ],
  [{ memoryBytes: 5 }, { sandboxes: 0, nanoCpus: 0, memoryBytes: 5 }, { memoryBytes: 1 }, 'at most 5 bytes'],
  [
    { memoryBytes: 5 },
    { sandboxes: 0, nanoCpus: 0, memoryBytes: 0 },
    {},
    'resourceLimits.memory is required',
  ],
])('overQuota(%j, %j, %j) says %s', (quota, used, wanted, problem) => {
  const found = overQuota(quota, used, wanted)
  if (problem === undefined) expect(found).toBeUndefined()
  else expect(found).toContain(problem)
})

test('S19: every change has its row in the audit, refused ones too, reads and reports have none', async () => {
  const control = open({ now: () => 5000 })
  const { headers } = await makeKey(control, { name: 'red', tenant: 'red' })
  const made = await control.call('POST', '/v1/sandboxes', MINIMAL, { ...headers, 'x-request-id': 'req-1' })
  await control.call('GET', `/sandboxes/${made.body.id}`, undefined, headers)
  await control.call('DELETE', '/sandboxes/other', undefined, headers)
  await control.call(
    'POST',
    '/v1/metrics/events',
    { eventType: 'sandbox.create', createDurationMs: 1, success: true },
    headers,
  )
  await control.call('POST', '/sandboxes', MINIMAL, { 'open-sandbox-api-key': 'wrong' })
  const rows = (await control.call('GET', '/admin/audit', undefined, ROOT)).body.items as Record<
    string,
    unknown
  >[]
  expect(rows).toMatchObject([
    { actor: 'default', role: 'admin', route: '/v1/admin/keys', method: 'POST', status: 201 },
    { actor: 'red', tenant: 'red', requestId: 'req-1', route: '/v1/sandboxes', method: 'POST', status: 202 },
    {
      actor: 'red',
      route: '/sandboxes/:id',
      target: 'other',
      method: 'DELETE',
      status: 404,
      code: 'DOCKER::SANDBOX_NOT_FOUND',
    },
    { actor: '(unknown)', role: 'none', method: 'POST', status: 401, code: 'INVALID_API_KEY' },
  ])
  expect(rows).toHaveLength(4)
  const next = await control.call('GET', `/admin/audit?after=${rows[1]?.id}&limit=1`, undefined, ROOT)
  expect(next.body.items).toEqual([rows[2]])
})

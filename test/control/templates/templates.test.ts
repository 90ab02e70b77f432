// Templates: built one by one, tried out, published; and the sandboxes that are made from them.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { Store } from '../../../control/store/sqlite.ts'
import { hashKey } from '../../../lib/access.ts'
import { type ControlApp, createControlApp, MIGRATIONS } from '../../support/control-app.ts'
import { createFakeRuntime } from '../../support/fake-runtime.ts'
import { waitFor } from '../../support/wait-for.ts'
import { byPool, capacity, openPools, running, untilWarm } from '../pools/support.ts'

const QUICK = { image: 'debian', publish: 's3://bucket/app', readiness: { warmupSeconds: 0 } }

type Body = { templateId: string; status: { phase: string; message?: string; manifestRef?: string } }

async function make(control: ControlApp, more: object = {}, headers = {}): Promise<string> {
  const made = await control.call('POST', '/v1/templates', { ...QUICK, ...more }, headers)
  expect([made.status, made.text]).toEqual([201, expect.any(String)])
  return String(made.body.templateId)
}

const read = async (control: ControlApp, id: string, headers = {}) =>
  (await control.call('GET', `/v1/templates/${id}`, undefined, headers)).body as Body

async function until(control: ControlApp, id: string, phase: string, headers = {}): Promise<Body> {
  return await waitFor(async () => {
    const body = await read(control, id, headers)
    expect(body.status.phase).toBe(phase)
    return body
  })
}

test('a template is pending, then built and published, and its sandbox is gone again', async () => {
  const control = openPools()
  const made = await control.call('POST', '/v1/templates', {
    ...QUICK,
    resourceLimits: { cpu: '2', disk: '4Gi' },
    entrypoint: ['serve'],
    env: { A: 'b' },
    metadata: { team: 'x' },
    format: 'native',
  })
  const id = String(made.body.templateId)
  expect([made.status, made.headers.get('location'), made.headers.get('opensandbox-warning')]).toEqual([
    201,
    `/v1/templates/${id}`,
    'resourceLimits.disk has no effect on this runtime',
  ])
  expect(made.body).toEqual({
    templateId: expect.stringMatching(/^tpl-[0-9a-f-]{36}$/),
    image: 'debian',
    publish: 's3://bucket/app',
    format: 'native',
    status: { phase: 'Pending' },
    resourceLimits: { cpu: '2', disk: '4Gi' },
    entrypoint: ['serve'],
    env: { A: 'b' },
    metadata: { team: 'x' },
    readiness: { warmupSeconds: 0 },
    createdAt: expect.any(String),
    updatedAt: expect.any(String),
  })
  const { status } = await until(control, id, 'Succeeded')
  expect(status).toEqual({ phase: 'Succeeded', manifestRef: 's3://bucket/app' })
  expect(control.runtime.specs).toMatchObject([
    {
      image: { uri: 'debian' },
      entrypoint: ['serve'],
      env: { A: 'b' },
      limits: { nanoCpus: 2e9, memoryBytes: 512 * 2 ** 20 },
    },
  ])
  await waitFor(() => expect(running(control)).toEqual([]))
  expect(control.store.events.after(0, { limit: 9 })).toEqual([])
})

describe('a sandbox by templateId', () => {
  test('is what the template says, for as long as the create says', async () => {
    const control = openPools()
    const id = await make(control, { env: { A: 'b' }, entrypoint: ['serve'] })
    await until(control, id, 'Succeeded')
    const created = await control.call('POST', '/v1/sandboxes', {
      templateId: ` ${id} `,
      timeout: 60,
      metadata: { m: 'x' },
      networkPolicy: { egress: [] },
    })
    expect([created.status, created.body]).toEqual([
      202,
      expect.objectContaining({ entrypoint: ['serve'], metadata: { m: 'x' } }),
    ])
    expect(control.runtime.specs.at(-1)).toMatchObject({
      image: { uri: 'debian' },
      env: { A: 'b' },
      limits: { nanoCpus: 1e9, memoryBytes: 512 * 2 ** 20 },
      networkPolicy: { defaultAction: 'deny', egress: [] },
    })
    const endpoint = await control.call('GET', `/v1/sandboxes/${created.body.id}/endpoints/44772`)
    expect(endpoint.headers.get('open-sandbox-origin')).toBe('template')
    const other = await control.call('POST', '/v1/sandboxes', {
      image: { uri: 'debian' },
      entrypoint: ['a'],
      resourceLimits: {},
    })
    const plain = await control.call('GET', `/v1/sandboxes/${other.body.id}/endpoints/44772`)
    expect(plain.headers.get('open-sandbox-origin')).toBeNull()
  })

  test('is not made from one that is not there yet, has failed or was deleted', async () => {
    const runtime = createFakeRuntime()
    const gate = Promise.withResolvers<void>()
    runtime.before = (call) => (call === 'create' ? gate.promise : undefined)
    const control = openPools({ runtime })
    const id = await make(control)
    const create = () => control.call('POST', '/v1/sandboxes', { templateId: id, timeout: 60 })
    await until(control, id, 'Building')
    expect([(await create()).status, (await create()).body.code]).toEqual([404, 'FSB::TEMPLATE_NOT_FOUND'])
    gate.reject(new RuntimeError('image_not_found', 'There is no image "debian"'))
    const { status } = await until(control, id, 'Failed')
    expect(status).toEqual({ phase: 'Failed', message: 'There is no image "debian"' })
    expect((await create()).status).toBe(404)
    expect((await control.call('DELETE', `/v1/templates/${id}`)).status).toBe(204)
    expect((await create()).status).toBe(404)
  })

  test('goes on when the template is deleted', async () => {
    const control = openPools()
    const id = await make(control)
    await until(control, id, 'Succeeded')
    const created = await control.call('POST', '/v1/sandboxes', { templateId: id, timeout: 60 })
    expect((await control.call('DELETE', `/v1/templates/${id}`)).status).toBe(204)
    expect((await control.call('GET', `/v1/templates/${id}`)).body.code).toBe('FSB::TEMPLATE_NOT_FOUND')
    expect((await control.call('DELETE', `/v1/templates/${id}`)).status).toBe(404)
    expect((await control.call('GET', `/v1/sandboxes/${created.body.id}`)).status).toBe(200)
  })

  test.each([
    'image',
    'snapshotId',
    'entrypoint',
    'env',
    'resourceLimits',
    'resourceRequests',
    'volumes',
    'platform',
    'credentialProxy',
    'lifecycle',
    'secureAccess',
  ])('cannot have %s', async (field) => {
    const values: Record<string, unknown> = {
      image: { uri: 'a' },
      snapshotId: 's',
      entrypoint: ['a'],
      volumes: [],
      platform: { os: 'linux', arch: 'amd64' },
      secureAccess: true,
    }
    const control = openPools()
    const id = await make(control)
    await until(control, id, 'Succeeded')
    const body = { templateId: id, timeout: 60, [field]: values[field] ?? {} }
    const refused = await control.call('POST', '/v1/sandboxes', body)
    expect([refused.status, refused.body.message]).toEqual([422, expect.stringContaining(field)])
  })
})

test('the published name is an image: the newest that was built, with its variables below the request’s', async () => {
  const control = openPools()
  const first = await make(control, { image: 'debian:12', publish: 'team/app:1' })
  await until(control, first, 'Succeeded')
  const second = await make(control, {
    image: 'debian:13',
    publish: 'team/app:1',
    env: { A: 'tpl', B: 'tpl' },
  })
  await until(control, second, 'Succeeded')
  const created = await control.call('POST', '/v1/sandboxes', {
    image: { uri: 'team/app:1' },
    entrypoint: ['mine'],
    resourceLimits: {},
    env: { B: 'mine' },
  })
  expect(created.status).toBe(202)
  expect(control.runtime.specs.at(-1)).toMatchObject({
    image: { uri: 'debian:13' },
    entrypoint: ['mine'],
    env: { A: 'tpl', B: 'mine' },
  })
})

test('a pool of a published template follows it', async () => {
  const control = openPools()
  await until(control, await make(control, { image: 'debian:12', publish: 'app' }), 'Succeeded')
  const body = { name: 'p', template: { image: 'app' }, capacitySpec: capacity(1) }
  expect((await control.call('POST', '/v1/pools', body)).status).toBe(201)
  await untilWarm(control, 1)
  await until(control, await make(control, { image: 'debian:13', publish: 'app' }), 'Succeeded')
  control.pooling.keeper.wake()
  await waitFor(() => expect(control.store.all().map(({ image }) => image)).toEqual(['debian:13']))
  await untilWarm(control, 1)
  const claimed = await control.call('POST', '/v1/sandboxes', byPool('p', { image: { uri: 'app' } }))
  expect(claimed.body.allocation).toMatchObject({ poolRef: 'p' })
})

describe('readiness', () => {
  test('a command is asked until it succeeds', async () => {
    const lines: string[] = []
    const control = openPools({
      execd: {
        run: async (_target, { line }) => {
          lines.push(line)
          return lines.length < 2 ? { ok: false, reason: 'it exited with 1' } : { ok: true }
        },
      },
    })
    await until(control, await make(control, { readiness: { probe: 'cmd://test -e /ready' } }), 'Succeeded')
    expect(lines).toEqual(['test -e /ready', 'test -e /ready'])
  })

  test('a port is tried from outside, then from inside', async () => {
    const asked: unknown[] = []
    const control = openPools({
      execd: {
        accepts: async (_target, port) => {
          asked.push(port)
          return false
        },
        run: async (_target, { line }) => {
          asked.push(line.includes('/dev/tcp/') && line.includes('127.0.0.1 8000'))
          return { ok: true }
        },
      },
    })
    await until(control, await make(control, { readiness: { probe: 'tcp://127.0.0.1:8000' } }), 'Succeeded')
    expect(asked).toEqual([8000, true])
  })

  test('a probe that never passes fails the template, and says what was wrong last', async () => {
    const control = openPools({
      probeMs: 1,
      execd: { run: async () => ({ ok: false, reason: 'it exited with 7' }) },
    })
    const { status } = await until(
      control,
      await make(control, { readiness: { probe: 'cmd://false' } }),
      'Failed',
    )
    expect(status.message).toContain('it exited with 7')
    await waitFor(() => expect(running(control)).toEqual([]))
  })

  test('one that ends while it is warmed fails the template', async () => {
    const control = openPools({
      execd: {
        run: async () => {
          const [row] = control.store.all()
          control.store.update(row?.id ?? '', {
            state: 'Failed',
            message: 'The entrypoint ended with code 3',
          })
          return { ok: false, reason: 'no' }
        },
      },
    })
    const { status } = await until(
      control,
      await make(control, { readiness: { probe: 'cmd://x' } }),
      'Failed',
    )
    expect(status.message).toBe('The entrypoint ended with code 3')
  })
})

test.each<[string, Record<string, unknown>, number, string]>([
  ['no image', { image: undefined }, 422, 'image'],
  ['an image of spaces', { image: ' ' }, 400, 'image'],
  ['an image that is no reference', { image: '--help' }, 400, 'image'],
  ['no name', { publish: '' }, 422, 'publish'],
  ['a blank name', { publish: ' ' }, 400, 'publish'],
  ['an unknown field', { more: 1 }, 422, 'more'],
  ['an unknown limit', { resourceLimits: { gpu: '1' } }, 400, 'resourceLimits.gpu'],
  ['a limit of nonsense', { resourceLimits: { cpu: 'x' } }, 400, 'resourceLimits.cpu'],
  ['an entrypoint of nothing', { entrypoint: [] }, 422, 'entrypoint'],
  ['a variable of no shell', { env: { 'a-b': '1' } }, 400, 'env'],
  ['a reserved label', { metadata: { 'opensandbox.io/a': 'b' } }, 400, 'opensandbox.io'],
  ['a probe of another kind', { readiness: { probe: 'http://x' } }, 422, 'readiness.probe'],
  ['a probe of no port', { readiness: { probe: 'tcp://x' } }, 400, 'readiness.probe'],
  ['a probe of no command', { readiness: { probe: 'cmd:// ' } }, 400, 'readiness.probe'],
  ['a probe with more in it', { readiness: { probe: 'tcp://x;reboot:1' } }, 400, 'readiness.probe'],
  ['a warm-up without end', { readiness: { warmupSeconds: 3601 } }, 400, 'readiness.warmupSeconds'],
  ['an unknown format', { format: 'zip' }, 422, 'format'],
])('a template is refused by name: %s', async (_name, more, status, field) => {
  const control = openPools()
  const refused = await control.call('POST', '/v1/templates', { ...QUICK, ...more })
  expect([refused.status, refused.body.message]).toEqual([status, expect.stringContaining(field)])
  expect((await control.call('GET', '/v1/templates')).body.items).toEqual([])
})

test('templates are listed newest first, by page and labels, each tenant its own', async () => {
  let at = 0
  const as = (key: string) => ({ 'open-sandbox-api-key': key })
  const control = openPools({
    now: () => ++at,
    access: {
      apiKey: 'operator',
      keys: [{ name: 'a', hash: hashKey('key-a'), role: 'member', tenant: 'a' }],
    },
  })
  const ids: string[] = []
  for (const team of ['x', 'y', 'x']) ids.unshift(await make(control, { metadata: { team } }, as('key-a')))
  const foreign = await make(control, {}, as('operator'))
  const list = async (query: string, key: string) => {
    const { body } = await control.call('GET', `/v1/templates${query}`, undefined, as(key))
    const { items, pagination } = body as unknown as { items: Body[]; pagination: object }
    return [items.map(({ templateId }) => templateId), pagination]
  }
  expect(await list('?pageSize=2', 'key-a')).toEqual([
    ids.slice(0, 2),
    { page: 1, pageSize: 2, totalItems: 3, totalPages: 2, hasNextPage: true },
  ])
  expect((await list('?metadata=team%3Dx', 'key-a'))[0]).toEqual([ids[0], ids[2]])
  expect((await list('?metadata=a%2522b%3Dc', 'key-a'))[0]).toEqual([])
  expect((await list('', 'operator'))[0]).toEqual([foreign, ...ids])
  for (const query of ['?metadata=word', '?page=0', '?pageSize=201'])
    expect(
      (await control.call('GET', `/v1/templates${query}`, undefined, as('key-a'))).status,
    ).toBeGreaterThanOrEqual(400)
  expect((await control.call('GET', `/v1/templates/${foreign}`, undefined, as('key-a'))).status).toBe(404)
  expect((await control.call('DELETE', `/v1/templates/${foreign}`, undefined, as('key-a'))).status).toBe(404)
  await until(control, foreign, 'Succeeded', as('operator'))
  const create = { templateId: foreign, timeout: 60 }
  expect((await control.call('POST', '/v1/sandboxes', create, as('key-a'))).status).toBe(404)
  expect((await control.call('POST', '/v1/sandboxes', create, as('operator'))).status).toBe(202)
})

test('deleting a template ends its build, and the next one begins', async () => {
  const runtime = createFakeRuntime()
  runtime.before = (call, _id, signal) =>
    call === 'create' && runtime.specs.at(-1)?.image.uri === 'slow'
      ? new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      : undefined
  const control = openPools({ runtime })
  const slow = await make(control, { image: 'slow' })
  const next = await make(control, { image: 'next' })
  await until(control, slow, 'Building')
  expect((await read(control, next)).status.phase).toBe('Pending')
  await control.call('DELETE', `/v1/templates/${slow}`)
  await until(control, next, 'Succeeded')
  expect((await control.call('GET', '/v1/templates')).body.items).toHaveLength(1)
  await waitFor(() => expect([running(control), control.store.all()]).toEqual([[], []]))
})

test('a build of one tenant that takes its time does not hold up those of another', async () => {
  const keys = ['a', 'b'].map((name) => ({
    name,
    hash: hashKey(`key-${name}`),
    role: 'member' as const,
    tenant: name,
  }))
  const [a, b] = keys.map(({ name }) => ({ 'open-sandbox-api-key': `key-${name}` }))
  const control = openPools({ access: { keys } })
  const long = { readiness: { warmupSeconds: 3600 } }
  const first = await make(control, long, a)
  const second = await make(control, long, a)
  await until(control, first, 'Building', a)
  await until(control, await make(control, {}, b), 'Succeeded', b)
  expect((await read(control, first, a)).status.phase).toBe('Building')
  expect((await read(control, second, a)).status.phase).toBe('Pending')
})

test('a build that a stop interrupts begins anew at the next start, without what was left of it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'templates-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const open = () => new Store({ path: join(folder, 'control.db'), migrationsDir: MIGRATIONS })
  const runtime = createFakeRuntime()
  const first = createControlApp({
    runtime,
    store: open(),
    runsPooling: true,
    execd: { run: async () => ({ ok: false, reason: 'not yet' }) },
  })
  const id = await make(first, { readiness: { probe: 'cmd://x' } })
  await waitFor(() => expect([...runtime.sandboxes.values()].map(({ state }) => state)).toEqual(['running']))
  const [left] = running(first)
  await first.close()
  expect(running(first)).toEqual([left])
  const second = openPools({ runtime, store: open(), execd: { run: async () => ({ ok: true }) } })
  await until(second, id, 'Succeeded')
  await waitFor(() => expect(running(second)).toEqual([]))
  expect(runtime.specs).toHaveLength(2)
  expect(second.store.all()).toEqual([])
})

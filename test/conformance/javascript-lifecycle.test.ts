// Every call of the JavaScript SDK to the lifecycle API, as published on npm, unchanged.

import {
  ConnectionConfig,
  Sandbox,
  SandboxApiException,
  type SandboxInfo,
  SandboxManager,
} from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'

const API_KEY = 'conformance-key'
const MISSING = '00000000-0000-4000-8000-000000000000'
const RESOURCE = { cpu: '0.5', memory: '512Mi' }
/** Held by javascript.test.ts, to the daemon inside the sandbox and to the policy. */
const ELSEWHERE = ['getMetrics', 'getEndpointUrl', 'getEgressPolicy', 'patchEgressRules', 'deleteEgressRules']

let edge: Edge
let connectionConfig: ConnectionConfig
let sandbox: Sandbox
let manager: SandboxManager
const called = new Set<string>()

/** The object itself, with its calls remembered. */
function watched<T extends object>(name: string, subject: T): T {
  return new Proxy(subject, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key)
      if (typeof member !== 'function') return member
      called.add(`${name}.${String(key)}`)
      return member.bind(target)
    },
  })
}

beforeAll(async () => {
  edge = await startEdge({ env: { OPENSANDBOX_SERVER_API_KEY: API_KEY } })
  connectionConfig = new ConnectionConfig({ domain: `127.0.0.1:${edge.port}`, apiKey: API_KEY })
  manager = watched('SandboxManager', SandboxManager.create({ connectionConfig }))
  // Without an end: someone else must see to it.
  const made = await Sandbox.create({
    connectionConfig,
    image: 'host',
    timeoutSeconds: null,
    metadata: { surface: 'js' },
    extensions: { 'opensandbox.extensions.team': 'a' },
    resource: RESOURCE,
  })
  sandbox = watched('Sandbox', made)
})

afterAll(async () => {
  await edge?.dispose()
})

function refusal(statusCode: number, code: string) {
  return { statusCode, error: { code }, requestId: expect.any(String) }
}

test('a sandbox without end has no expiresAt, and cannot be given one', async () => {
  const info = await sandbox.getInfo()
  expect(info).toMatchObject({
    id: sandbox.id,
    status: { state: 'Running' },
    metadata: { surface: 'js' },
    extensions: { 'opensandbox.extensions.team': 'a' },
    image: { uri: 'host' },
    expiresAt: null,
  })
  await expect(sandbox.renew(600)).rejects.toMatchObject(refusal(409, 'DOCKER::INVALID_EXPIRATION'))
})

test('waitUntilReady() and isHealthy()', async () => {
  await sandbox.waitUntilReady({ readyTimeoutSeconds: 10, pollingIntervalMillis: 50 })
  expect(await sandbox.isHealthy()).toBe(true)
})

test('endpoints have no scheme, and signed ones are said not to be there', async () => {
  const { endpoint } = await sandbox.getEndpoint(8080)
  expect(endpoint).toBe(`127.0.0.1:${edge.port}/sandboxes/${sandbox.id}/proxy/8080`)
  await expect(sandbox.getSignedEndpoint(8080, 4_000_000_000)).rejects.toMatchObject(
    refusal(400, 'SANDBOX::API_NOT_SUPPORTED'),
  )
})

test('metadata is changed by the sandbox and by a manager', async () => {
  expect((await sandbox.patchMetadata({ stage: 'one' })).metadata).toEqual({ surface: 'js', stage: 'one' })
  const patched = await manager.patchSandboxMetadata(sandbox.id, { stage: null })
  expect(patched.metadata).toEqual({ surface: 'js' })
  await expect(sandbox.patchMetadata({ title: 'with a space' })).rejects.toMatchObject(
    refusal(400, 'SANDBOX::INVALID_METADATA_LABEL'),
  )
})

test('a manager lists by states and metadata together, page by page', async () => {
  const other = await Sandbox.create({
    connectionConfig,
    image: 'host',
    timeoutSeconds: 300,
    metadata: { surface: 'js', odd: 'a.b-c_d' },
    resource: RESOURCE,
  })
  const states = ['Pending', 'Running', 'Paused', 'Failed']
  const list = async (metadata: Record<string, string>, page = 1, pageSize = 50) =>
    await manager.listSandboxInfos({ states, metadata, page, pageSize })
  const idsOf = (page: { items: SandboxInfo[] }) => page.items.map(({ id }) => id)
  expect(idsOf(await list({ surface: 'js' }))).toEqual([other.id, sandbox.id])
  expect(idsOf(await list({ surface: 'js', odd: 'a.b-c_d' }))).toEqual([other.id])
  expect(idsOf(await list({ surface: 'a=b c/ü' }))).toEqual([])
  const second = await list({ surface: 'js' }, 2, 1)
  expect([idsOf(second), second.pagination]).toEqual([
    [sandbox.id],
    { page: 2, pageSize: 1, totalItems: 2, totalPages: 2, hasNextPage: false },
  ])
  await manager.renewSandbox(other.id, 86_400)
  const { expiresAt } = await manager.getSandboxInfo(other.id)
  expect((expiresAt?.getTime() ?? 0) - Date.now()).toBeGreaterThan(86_000_000)
  await manager.killSandbox(other.id)
  await expect(manager.killSandbox(other.id)).rejects.toMatchObject(refusal(404, 'DOCKER::SANDBOX_NOT_FOUND'))
  await other.close()
})

test('pause and resume, by the sandbox, by a manager and by an id alone', async () => {
  await manager.pauseSandbox(sandbox.id)
  await expect(sandbox.pause()).rejects.toMatchObject(refusal(409, 'DOCKER::SANDBOX_NOT_RUNNING'))
  await manager.resumeSandbox(sandbox.id)
  await expect(manager.resumeSandbox(sandbox.id)).rejects.toMatchObject(
    refusal(409, 'DOCKER::SANDBOX_NOT_PAUSED'),
  )
  await sandbox.pause()
  expect(await (await sandbox.resume()).isHealthy()).toBe(true)
  await sandbox.pause()
  const resumed = await Sandbox.resume({ connectionConfig, sandboxId: sandbox.id })
  expect((await resumed.getInfo()).status.state).toBe('Running')
  await resumed.close()
})

test('snapshots: taken, found, made into a sandbox, kept while that is there', async () => {
  await sandbox.files.writeFiles([{ path: '/workspace/kept', data: 'as it was' }])
  const taken = await manager.createSnapshot(sandbox.id, { name: 's' })
  expect([taken.sandboxId, taken.name, taken.status.state]).toEqual([sandbox.id, 's', 'Creating'])
  await expect.poll(async () => (await manager.getSnapshot(taken.id)).status.state).toBe('Ready')
  const page = await manager.listSnapshots({
    sandboxId: sandbox.id,
    name: 's',
    states: ['Ready'],
    pageSize: 5,
  })
  expect([page.items.map(({ id }) => id), page.pagination?.pageSize]).toEqual([[taken.id], 5])
  const copy = await Sandbox.create({ connectionConfig, snapshotId: taken.id, resource: RESOURCE })
  expect(await copy.files.readFile('/workspace/kept')).toBe('as it was')
  await expect(manager.deleteSnapshot(taken.id)).rejects.toMatchObject(
    refusal(409, 'SNAPSHOT::DELETE_CONFLICT'),
  )
  await copy.kill()
  await copy.close()
  await manager.deleteSnapshot(taken.id)
  for (const call of [() => manager.getSnapshot(taken.id), () => manager.deleteSnapshot('none')])
    await expect(call()).rejects.toMatchObject(refusal(404, 'SNAPSHOT::NOT_FOUND'))
  await expect(
    Sandbox.create({ connectionConfig, snapshotId: 'none', resource: RESOURCE }),
  ).rejects.toMatchObject(refusal(404, 'SNAPSHOT::NOT_FOUND'))
})

test.each([
  [{ resource: { memory: 'much' } }, 400, 'SANDBOX::INVALID_PARAMETER'],
  [{ timeoutSeconds: 5 }, 422, 'GENERAL::INVALID_REQUEST'],
  [{ extensions: { poolRef: 'none' } }, 404, 'KUBERNETES::POOL_NOT_FOUND'],
  [
    { volumes: [{ name: 'v', mountPath: '/mnt/v', host: { path: '/srv/not-allowed' } }] },
    400,
    'VOLUME::HOST_PATH_NOT_ALLOWED',
  ],
])('create() of %j is refused with %i %s', async (more, status, code) => {
  await expect(
    Sandbox.create({ connectionConfig, image: 'host', resource: RESOURCE, ...more }),
  ).rejects.toMatchObject(refusal(status, code))
})

test('the vault is said to be absent', async () => {
  await expect(sandbox.credentialVault.get()).rejects.toThrow(SandboxApiException)
})

test('unknown ids are errors everywhere', async () => {
  const calls = [
    () => manager.getSandboxInfo(MISSING),
    () => manager.patchSandboxMetadata(MISSING, { a: 'b' }),
    () => manager.killSandbox(MISSING),
    () => manager.pauseSandbox(MISSING),
    () => manager.resumeSandbox(MISSING),
    () => manager.renewSandbox(MISSING, 600),
    () => manager.createSnapshot(MISSING),
    () => Sandbox.connect({ connectionConfig, sandboxId: MISSING }),
  ]
  for (const call of calls)
    await expect(call()).rejects.toMatchObject(refusal(404, 'DOCKER::SANDBOX_NOT_FOUND'))
})

test('kill() ends it, and every public method was called', async () => {
  await sandbox.kill()
  await expect(sandbox.getInfo()).rejects.toMatchObject(refusal(404, 'DOCKER::SANDBOX_NOT_FOUND'))
  await sandbox.close()
  await manager.close()
  const wanted = Object.entries({ Sandbox, SandboxManager }).flatMap(([name, { prototype }]) =>
    Object.getOwnPropertyNames(prototype)
      .filter((method) => method !== 'constructor' && !ELSEWHERE.includes(method))
      .map((method) => `${name}.${method}`),
  )
  expect(wanted.filter((method) => !called.has(method))).toEqual([])
})

// Pools and templates on the real local runtime: sandboxes that are warm are claimed with what the caller asked for in force,
// and outlive the programs; templates are prepared, tried out and used, by the published SDK too.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ConnectionConfig, Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { run } from '../support/sandbox.ts'
import { waitFor } from '../support/wait-for.ts'

const SHAPE = {
  image: 'host',
  entrypoint: ['tail', '-f', '/dev/null'],
  resourceLimits: { cpu: '1', memory: '256Mi' },
}

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
})
afterAll(() => edge?.dispose())

type Body = Record<string, unknown> & { id?: string; code?: string }
type Pool = { status: { total: number; allocated: number; available: number; message?: string } }

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Body }> {
  const response = await fetch(`${edge.url}/v1${path}`, {
    method,
    ...(body !== undefined && {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  })
  const text = await response.text()
  return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Body) }
}

async function makePool(name: string, template: object, buffer: number, poolMax = 10): Promise<void> {
  const capacitySpec = { bufferMin: buffer, bufferMax: buffer, poolMin: 0, poolMax }
  const made = await call('POST', '/pools', { name, template, capacitySpec })
  expect([made.status, made.body]).toEqual([201, expect.anything()])
  onTestFinished(async () => void (await call('DELETE', `/pools/${name}`)))
  await untilWarm(name, buffer)
}

/** What there is of sandboxes on the machine. */
const sandboxesOf = ({ dataDir }: Edge) => readdirSync(join(dataDir, 'sandboxes'))

const untilWarm = (name: string, available: number) =>
  waitFor(async () => {
    const { body } = await call('GET', `/pools/${name}`)
    const { status } = body as Pool
    expect(status).toMatchObject({ available, total: status.allocated + available })
  })

async function claim(poolRef: string, more: object = {}): Promise<Sandbox> {
  const sandbox = await Sandbox.create({
    connectionConfig: new ConnectionConfig({ domain: `127.0.0.1:${edge.port}`, requestTimeoutSeconds: 60 }),
    image: 'host',
    timeoutSeconds: 600,
    extensions: { poolRef },
    ...more,
  })
  onTestFinished(async () => {
    await sandbox.kill().catch(() => {}) // a test may have done so itself
    await sandbox.close()
  })
  return sandbox
}

test('a claimed sandbox has its variables, its policy and its labels when the SDK gets it', async () => {
  await makePool('p', { ...SHAPE, env: { OF_POOL: 'yes' } }, 2)
  const sandbox = await claim('p', {
    env: { MINE: `it's "mine" $HOME`, LINES: 'one\ntwo' },
    metadata: { team: 'a' },
    networkPolicy: { defaultAction: 'deny', egress: [{ action: 'allow', target: 'a.example' }] },
  })
  const shown = await run(sandbox, 'echo "$OF_POOL|$MINE|$LINES"')
  expect(shown.stdout).toBe(`yes|it's "mine" $HOME|one\ntwo`)
  const { body } = await call('GET', `/sandboxes/${sandbox.id}/networkpolicy`)
  expect(body.policy).toEqual({ defaultAction: 'deny', egress: [{ action: 'allow', target: 'a.example' }] })
  const closed = await run(sandbox, 'curl -sm 3 http://192.0.2.1/ || echo closed')
  expect(closed.stdout).toBe('closed')
  const read = await call('GET', `/sandboxes/${sandbox.id}`)
  expect(read.body).toMatchObject({
    metadata: { team: 'a' },
    allocation: { mode: 'pool', poolRef: 'p', state: 'allocated' },
  })
  await untilWarm('p', 2)
})

test('warm sandboxes outlive the programs, and those of a pool that goes are gone from the machine', async () => {
  await makePool('keeps', SHAPE, 2)
  await edge.stop()
  edge = await startEdge({ dataDir: edge.dataDir })
  const { body } = await call('GET', '/pools/keeps')
  expect((body as Pool).status).toMatchObject({ total: 2, available: 2 })
  const sandbox = await claim('keeps')
  expect((await run(sandbox, 'echo here')).stdout).toBe('here')
  await untilWarm('keeps', 2)
  expect((await call('DELETE', '/pools/keeps')).status).toBe(204)
  await waitFor(() => expect(sandboxesOf(edge)).toEqual([sandbox.id]))
})

test('ten at once are all served, warm or not', async () => {
  await makePool('burst', SHAPE, 3, 12)
  const sandboxes = await Promise.all(Array.from({ length: 10 }, () => claim('burst')))
  expect(new Set(sandboxes.map(({ id }) => id)).size).toBe(10)
  const hosts = await Promise.all(sandboxes.map((sandbox) => run(sandbox, 'hostname')))
  expect(hosts.map(({ stdout }) => stdout)).toEqual(sandboxes.map(({ id }) => id))
})

test('a template is built when its port is open on the inside, and a sandbox of it serves', async () => {
  const made = await call('POST', '/templates', {
    image: 'host',
    publish: 's3://bucket/server',
    entrypoint: ['python3', '-m', 'http.server', '8000', '--bind', '127.0.0.1'],
    env: { FROM_TEMPLATE: 'yes' },
    readiness: { probe: 'tcp://127.0.0.1:8000' },
  })
  expect(made.status).toBe(201)
  const path = `/templates/${made.body.templateId}`
  await waitFor(async () =>
    expect((await call('GET', path)).body.status).toEqual({
      phase: 'Succeeded',
      manifestRef: 's3://bucket/server',
    }),
  )
  const created = await call('POST', '/sandboxes', { templateId: made.body.templateId, timeout: 60 })
  expect(created.status).toBe(202)
  onTestFinished(async () => void (await call('DELETE', `/sandboxes/${created.body.id}`)))
  const endpoint = await fetch(`${edge.url}/v1/sandboxes/${created.body.id}/endpoints/44772`)
  expect(endpoint.headers.get('open-sandbox-origin')).toBe('template')
  const sandbox = await Sandbox.connect({
    connectionConfig: new ConnectionConfig({ domain: `127.0.0.1:${edge.port}` }),
    sandboxId: String(created.body.id),
  })
  const served = await run(
    sandbox,
    'for n in $(seq 50); do curl -sf -o /dev/null http://127.0.0.1:8000/ && break; sleep 0.1; done; curl -so /dev/null -w "%{http_code} $FROM_TEMPLATE" http://127.0.0.1:8000/',
  )
  expect(served.stdout).toBe('200 yes')
  await sandbox.close()
})

test('a template whose image is not there, or whose command never succeeds, has failed and says why', async () => {
  const templates = await Promise.all(
    [
      { image: 'no-such-registry.invalid/nothing:1' },
      {
        image: 'host',
        entrypoint: ['sh', '-c', 'echo no database >&2; exit 3'],
        readiness: { warmupSeconds: 5 },
      },
    ].map((body) => call('POST', '/templates', { publish: 'x', ...body })),
  )
  const messages = await Promise.all(
    templates.map(({ body: { templateId } }) =>
      waitFor(async () => {
        const { status } = (await call('GET', `/templates/${templateId}`)).body as {
          status: { phase: string; message?: string }
        }
        expect(status.phase).toBe('Failed')
        return status.message
      }),
    ),
  )
  expect(messages[0]).toContain('no-such-registry.invalid/nothing:1')
  expect(messages[1]).toContain('no database')
})

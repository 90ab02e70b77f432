// A real request for each operation of the lifecycle API and each status that it can be led to, on three servers: one that asks
// for a key, one that asks for none, and one whose database is taken away for the length of a request.

import Sqlite from 'better-sqlite3'
import { expect } from 'vitest'
import { MINIMAL } from '../support/control-app.ts'
import { type Ask, type ControlServer, type Reply, unknownId } from '../support/control-server.ts'
import { waitFor } from '../support/wait-for.ts'

export type Servers = { keyed: ControlServer; open: ControlServer; broken: ControlServer }
export type Case = {
  name: string
  /** As `GET /sandboxes/{sandbox_id}`, without prefix. */
  operation: string
  status: number
  ask: (servers: Servers, prefix: string) => Promise<Reply>
}

export const API_KEY = 'operator'
export const REQUEST_ID = 'conformance-1'
const KEY = { 'open-sandbox-api-key': API_KEY }
const CAPACITY = { bufferMin: 0, bufferMax: 0, poolMin: 0, poolMax: 5 }
const POOL = { name: 'p', template: { ...MINIMAL, image: 'debian' }, capacitySpec: CAPACITY }
const TEMPLATE = { image: 'debian', publish: 'debian-warm' }
const METRICS = { eventType: 'sandbox.create', createDurationMs: 812, success: true }

/** What makes a valid request of an operation, beside its path. */
const VALID: Record<string, { body?: unknown; sandbox?: object; paused?: true }> = {
  'POST /sandboxes': { body: MINIMAL },
  'PATCH /sandboxes/{sandbox_id}/metadata': { body: { team: 'a' } },
  'POST /sandboxes/{sandbox_id}/resume': { paused: true },
  'POST /sandboxes/{sandbox_id}/renew-expiration': {
    sandbox: { timeout: 600 },
    body: { expiresAt: '2099-01-01T00:00:00Z' },
  },
  'PUT /sandboxes/{sandbox_id}/networkpolicy': { body: { defaultAction: 'deny', egress: [] } },
  'PATCH /sandboxes/{sandbox_id}/networkpolicy': { body: [{ action: 'allow', target: 'a.example' }] },
  'DELETE /sandboxes/{sandbox_id}/networkpolicy': { body: ['a.example'] },
  'POST /pools': { body: POOL },
  'PUT /pools/{pool_name}': { body: { capacitySpec: CAPACITY } },
  'POST /templates': { body: TEMPLATE },
  'POST /metrics/events': { body: METRICS },
}

const isProxy = (operation: string) => operation.includes('/proxy/')
const isOpen = (operation: string) => isProxy(operation) || /\/(health|version)$/.test(operation)

/** The cases of these operations, each with its statuses. */
export function casesOf(operations: Map<string, string[]>): Case[] {
  const names = [...operations.keys()]
  return [
    ...[...operations].map(([name, statuses]) =>
      spoilt(name, Number(statuses.find((status) => status.startsWith('2'))), {}),
    ),
    ...SUCCEEDING,
    ...names.filter((name) => !isOpen(name)).map(withoutKey),
    ...names.map(fromElsewhere),
    ...names.filter((name) => /\{(sandbox_id|pool_name|template_id|snapshot_id)\}/.test(name)).map(ofNothing),
    ...names.filter((name) => !isOpen(name) && !/ \/metrics/.test(name)).map(withoutDatabase),
    ...names.filter(isProxy).flatMap((name) => [withBadPort(name), toDeafPort(name)]),
    ...REFUSED,
    ...CONFLICTS,
  ]
}

async function create(server: ControlServer, path: string, body: object): Promise<Record<string, string>> {
  const { status, text } = await server.ask({ method: 'POST', path, body, headers: KEY })
  if (status >= 300) throw new Error(`POST ${path} answered ${status} ${text}`)
  return JSON.parse(text) as Record<string, string>
}

/** A valid request of an operation; what it is about is made first. */
async function valid(server: ControlServer, operation: string, prefix: string): Promise<Ask> {
  const [method = '', pattern = ''] = operation.split(' ')
  const { body, sandbox = {}, paused } = VALID[operation] ?? {}
  let path = pattern.replace('{port}', String(server.appPort)).replace('{full_path}', 'a/b%2Fc')
  if (path.includes('{sandbox_id}')) {
    const { id = '' } = await create(server, '/sandboxes', { ...MINIMAL, ...sandbox })
    if (paused) await server.ask({ method: 'POST', path: `/sandboxes/${id}/pause`, headers: KEY })
    path = path.replace('{sandbox_id}', id)
  }
  if (path.includes('{pool_name}')) {
    const { name = '' } = await create(server, '/pools', { ...POOL, name: unknownId() })
    path = path.replace('{pool_name}', name)
  }
  if (path.includes('{template_id}')) {
    const { templateId = '' } = await create(server, '/templates', TEMPLATE)
    path = path.replace('{template_id}', templateId)
  }
  if (path.includes('{snapshot_id}')) path = path.replace('{snapshot_id}', await snapshotOf(server))
  return {
    method,
    path: prefix + path.replace(/\{\w+\}/, unknownId()),
    body: operation === 'POST /pools' ? { ...POOL, name: unknownId() } : body,
    headers: { ...KEY, 'x-request-id': REQUEST_ID },
  }
}

/** A snapshot that is Ready. */
async function snapshotOf(server: ControlServer): Promise<string> {
  const sandbox = await create(server, '/sandboxes', MINIMAL)
  const { id = '' } = await create(server, `/sandboxes/${sandbox.id}/snapshots`, {})
  await waitFor(async () => {
    const { text } = await server.ask({ method: 'GET', path: `/snapshots/${id}`, headers: KEY })
    expect((JSON.parse(text) as { status: { state: string } }).status.state).toBe('Ready')
  })
  return id
}

/** The valid request with something else in it. */
function spoilt(
  operation: string,
  status: number,
  { query = '', ...rest }: Partial<Ask> & { query?: string },
  name?: string,
): Case {
  return {
    name: `${operation} ${status}${name ? `: ${name}` : ''}`,
    operation,
    status,
    ask: async ({ keyed }, prefix) => {
      const ask = await valid(keyed, operation, prefix)
      return await keyed.ask({ ...ask, path: ask.path + query, ...rest })
    },
  }
}

function withoutKey(operation: string): Case {
  return spoilt(operation, 401, { headers: { 'x-request-id': REQUEST_ID } })
}

function fromElsewhere(operation: string): Case {
  return {
    ...spoilt(operation, 403, {}),
    ask: async ({ open }, prefix) => {
      const ask = await valid(open, operation, prefix)
      return await open.ask({ ...ask, headers: { ...ask.headers, host: 'rebound.example' } })
    },
  }
}

function ofNothing(operation: string): Case {
  return {
    ...spoilt(operation, 404, {}),
    ask: async ({ keyed }, prefix) => {
      const [method = '', pattern = ''] = operation.split(' ')
      return await keyed.ask({
        method,
        path: prefix + pattern.replace('{port}', '80').replace(/\{\w+\}/g, unknownId()),
        body: VALID[operation]?.body,
        headers: { ...KEY, 'x-request-id': REQUEST_ID },
      })
    },
  }
}

function withoutDatabase(operation: string): Case {
  return {
    ...spoilt(operation, 500, {}),
    ask: async ({ broken }, prefix) => {
      const ask = await valid(broken, operation, prefix)
      const database = new Sqlite(broken.database)
      const rename = (from: string, to: string) => {
        for (const table of ['sandboxes', 'events', 'pools', 'templates', 'snapshots'])
          database.exec(`ALTER TABLE ${from}${table} RENAME TO ${to}${table}`)
      }
      rename('', 'lost_')
      try {
        return await broken.ask(ask)
      } finally {
        rename('lost_', '')
        database.close()
      }
    },
  }
}

function withBadPort(operation: string): Case {
  return {
    ...spoilt(operation, 422, {}),
    ask: async ({ keyed }, prefix) => {
      const ask = await valid(keyed, operation, prefix)
      return await keyed.ask({ ...ask, path: ask.path.replace(/proxy\/\d+/, 'proxy/80x') })
    },
  }
}

function toDeafPort(operation: string): Case {
  return {
    ...spoilt(operation, 502, {}),
    ask: async ({ keyed }, prefix) => {
      const ask = await valid(keyed, operation, prefix)
      // Port 1 is nobody's.
      return await keyed.ask({ ...ask, path: ask.path.replace(/proxy\/\d+/, 'proxy/1') })
    },
  }
}

const SUCCEEDING: Case[] = [
  spoilt(
    'GET /sandboxes',
    200,
    { query: '?state=running&state=Paused&metadata=a%3Db&pageSize=200' },
    'filtered',
  ),
  spoilt('GET /sandboxes/{sandbox_id}/diagnostics/logs', 200, { query: '?scope=container' }, 'by scope'),
  spoilt('GET /sandboxes/{sandbox_id}/diagnostics/events', 200, { query: '?scope=all' }, 'by scope'),
  spoilt(
    'GET /sandboxes/{sandbox_id}/endpoints/{port}',
    200,
    { query: '?use_server_proxy=true' },
    'by proxy',
  ),
]

const REFUSED: Case[] = [
  spoilt('POST /sandboxes', 400, { body: { ...MINIMAL, metadata: { 'bad key': 'x' } } }),
  spoilt('GET /sandboxes', 400, { query: '?metadata=bare' }),
  spoilt('PATCH /sandboxes/{sandbox_id}/metadata', 400, { body: { 'opensandbox.io/id': null } }),
  spoilt('POST /sandboxes/{sandbox_id}/renew-expiration', 400, { body: { expiresAt: '2020-01-01' } }),
  spoilt('GET /sandboxes/{sandbox_id}/endpoints/{port}', 400, { query: '?expires=5' }),
  spoilt('GET /sandboxes/{sandbox_id}/diagnostics/logs', 400, { query: '?scope=process' }),
  spoilt('GET /sandboxes/{sandbox_id}/diagnostics/events', 400, { query: '?scope=process' }),
  spoilt('POST /pools', 400, { body: { ...POOL, capacitySpec: { ...CAPACITY, bufferMin: 1 } } }),
  spoilt('PUT /pools/{pool_name}', 400, { body: { capacitySpec: { ...CAPACITY, bufferMin: 1 } } }),
  spoilt('POST /templates', 400, { body: { ...TEMPLATE, resourceLimits: { gpu: '1' } } }),
  spoilt('GET /templates', 400, { query: '?metadata=bare' }),
  spoilt('PUT /sandboxes/{sandbox_id}/networkpolicy', 400, {
    body: { egress: [{ action: 'allow', target: '' }] },
  }),

  spoilt('POST /sandboxes', 422, { body: '{' }, 'no JSON'),
  spoilt('POST /sandboxes', 422, { body: { ...MINIMAL, timeout: 5 } }, 'a field out of range'),
  spoilt('GET /sandboxes', 422, { query: '?page=0' }),
  spoilt('PATCH /sandboxes/{sandbox_id}/metadata', 422, { body: { a: 1 } }),
  spoilt('POST /sandboxes/{sandbox_id}/renew-expiration', 422, { body: {} }),
  spoilt('POST /sandboxes/{sandbox_id}/snapshots', 422, { body: { name: '' } }),
  spoilt('GET /snapshots', 422, { query: '?pageSize=201' }),
  spoilt('GET /sandboxes/{sandbox_id}/endpoints/{port}', 422, { query: '?use_server_proxy=perhaps' }),
  spoilt('GET /sandboxes/{sandbox_id}/diagnostics/logs', 422, { query: '?tail=0' }),
  spoilt('GET /sandboxes/{sandbox_id}/diagnostics/events', 422, { query: '?limit=501' }),
  spoilt('GET /sandboxes/{sandbox_id}/diagnostics/summary', 422, { query: '?tail=x' }),
  spoilt('POST /pools', 422, { body: { ...POOL, name: 'Upper' } }),
  spoilt('PUT /pools/{pool_name}', 422, { body: { capacitySpec: {} } }),
  spoilt('POST /templates', 422, { body: { ...TEMPLATE, surplus: 1 } }),
  spoilt('GET /templates', 422, { query: '?page=x' }),
  spoilt('DELETE /sandboxes/{sandbox_id}/networkpolicy', 422, { body: '' }),
  spoilt('POST /metrics/events', 422, { body: { ...METRICS, success: 'perhaps' } }),
  spoilt('POST /sandboxes', 404, { body: { templateId: 'tpl-none', timeout: 60 } }, 'no such template'),
  spoilt('POST /sandboxes', 413, { body: `"${'x'.repeat(1 << 20)}"` }, 'too large'),
]

/** The second of two requests that cannot both succeed, or one that comes at the wrong time. */
const CONFLICTS: Case[] = [
  {
    ...spoilt('POST /sandboxes', 409, {}, 'deleted before it was ready'),
    ask: async ({ open }, prefix) => {
      const begun = Promise.withResolvers<string>()
      open.runtime.before = async (call, id, signal) => {
        if (call !== 'create') return
        begun.resolve(id)
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
      }
      const creating = open.ask(await valid(open, 'POST /sandboxes', prefix))
      await open.ask({ method: 'DELETE', path: `/sandboxes/${await begun.promise}` })
      open.runtime.before = () => {}
      return await creating
    },
  },
  {
    ...spoilt('POST /sandboxes', 403, {}, 'a tenant has as many as it may'),
    ask: (servers, prefix) => createAs(servers, 'full', prefix),
  },
  {
    ...spoilt('POST /sandboxes', 429, {}, 'a tenant asks too often'),
    ask: (servers, prefix) => createAs(servers, 'hasty', prefix),
  },
  repeated('POST /sandboxes/{sandbox_id}/pause', 409),
  repeated('POST /sandboxes/{sandbox_id}/resume', 409),
  repeated('POST /pools', 409),
  {
    ...spoilt('POST /sandboxes/{sandbox_id}/renew-expiration', 409, {}, 'one without expiry'),
    ask: async ({ keyed }, prefix) => {
      const { id = '' } = await create(keyed, '/sandboxes', MINIMAL)
      const ask = await valid(keyed, 'POST /sandboxes/{sandbox_id}/renew-expiration', prefix)
      return await keyed.ask({ ...ask, path: ask.path.replace(/sandboxes\/[^/]+/, `sandboxes/${id}`) })
    },
  },
  {
    ...spoilt('DELETE /snapshots/{snapshot_id}', 409, {}, 'of one in use'),
    ask: async ({ keyed }, prefix) => {
      const ask = await valid(keyed, 'DELETE /snapshots/{snapshot_id}', prefix)
      await create(keyed, '/sandboxes', { snapshotId: ask.path.split('/').at(-1), resourceLimits: {} })
      return await keyed.ask(ask)
    },
  },
  {
    ...spoilt('POST /sandboxes/{sandbox_id}/snapshots', 409, {}, 'of a paused one'),
    ask: async ({ keyed }, prefix) => {
      const ask = await valid(keyed, 'POST /sandboxes/{sandbox_id}/snapshots', prefix)
      await keyed.ask({ ...ask, path: ask.path.replace(/snapshots$/, 'pause') })
      return await keyed.ask(ask)
    },
  },
]

function repeated(operation: string, status: number): Case {
  return {
    ...spoilt(operation, status, {}, 'twice'),
    ask: async ({ keyed }, prefix) => {
      const ask = await valid(keyed, operation, prefix)
      await keyed.ask(ask)
      return await keyed.ask(ask)
    },
  }
}

/** A create by the key of a tenant, whose quota is set in the servers' configuration. */
async function createAs({ keyed }: Servers, tenant: string, prefix: string): Promise<Reply> {
  const { key = '' } = await create(keyed, '/admin/keys', { name: unknownId(), tenant })
  const ask = await valid(keyed, 'POST /sandboxes', prefix)
  return await keyed.ask({ ...ask, headers: { ...ask.headers, 'open-sandbox-api-key': key } })
}

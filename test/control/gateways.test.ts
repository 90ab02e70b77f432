// What gateways say of themselves, as control passes it on.

import { linkSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { addUp, createGateways, formatFamilies } from '../../control/gateways.ts'
import { serveOwnSocket } from '../../gateway/observe/own-socket.ts'
import { hashKey } from '../../lib/access.ts'
import type { GatewayConnections, GatewayFigures, LiveConnection } from '../../lib/api/gateway-admin.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { createControlApp, MINIMAL } from '../support/control-app.ts'

const figures = (value: number): GatewayFigures => ({
  families: [
    { name: 'a_total', help: 'A.', type: 'counter', samples: [{ labels: { to: 'app' }, value }] },
    {
      name: 'b',
      help: 'B.',
      type: 'histogram',
      samples: [
        { labels: { to: 'app', le: '0.5' }, value },
        { labels: { to: 'app', le: '+Inf' }, value: value * 2 },
        { labels: { to: 'app' }, value: value / 4 },
      ],
    },
  ],
})

function connection(change: Partial<LiveConnection> = {}): LiveConnection {
  return {
    sandboxId: 'a',
    port: 80,
    client: '192.0.2.1',
    kind: 'request',
    method: 'GET',
    path: '/',
    ageMs: 5,
    bytesIn: 1,
    bytesOut: 2,
    ...change,
  }
}

test('the numbers of all processes are one, in the format of Prometheus', () => {
  expect(formatFamilies(addUp([figures(1), figures(3)]))).toBe(
    `# HELP a_total A.
# TYPE a_total counter
a_total{to="app"} 4
# HELP b B.
# TYPE b histogram
b_bucket{to="app",le="0.5"} 4
b_bucket{to="app",le="+Inf"} 8
b_count{to="app"} 8
b_sum{to="app"} 1
`,
  )
  expect(formatFamilies(addUp([]))).toBe('')
})

test('those that answer are asked, and the socket of one that was killed is removed', async () => {
  const runDir = mkdtempSync(join(tmpdir(), 'run-'))
  onTestFinished(() => rmSync(runDir, { recursive: true }))
  const log = createSilentLogger()
  const gateways = createGateways({ runDir, log })
  const serve = async (name: string, live: GatewayConnections) =>
    onTestFinished(
      await serveOwnSocket({ path: join(runDir, name), figures: () => figures(1), connections: () => live }),
    )
  await serve('gateway-1.sock', { connections: [connection({ ageMs: 1 })], leftOut: 2 })
  await serve('gateway-2.sock', { connections: [connection({ ageMs: 9 })], leftOut: 1 })
  const killed = createServer().listen(join(runDir, 'other.sock'))
  await new Promise<void>((resolve) => killed.once('listening', resolve))
  linkSync(join(runDir, 'other.sock'), join(runDir, 'gateway-3.sock'))
  await new Promise<void>((resolve) => killed.close(() => resolve()))

  const { connections, leftOut } = await gateways.connections()
  expect(connections.map(({ ageMs }) => ageMs)).toEqual([9, 1])
  expect(leftOut).toBe(3)
  expect(await gateways.formatMetrics()).toContain('a_total{to="app"} 2')
  expect(readdirSync(runDir).sort()).toEqual(['gateway-1.sock', 'gateway-2.sock'])
  expect(await createGateways({ runDir: '/nonexistent', log }).formatMetrics()).toBe('')
})

test("admins see what is under way, those of a tenant their tenant's alone", async () => {
  const keys = (['red', 'blue'] as const).map((tenant) => ({
    name: tenant,
    hash: hashKey(tenant),
    role: 'admin' as const,
    tenant,
  }))
  const live: LiveConnection[] = []
  const control = createControlApp({
    access: { apiKey: 'k', keys: [...keys, { name: 'm', hash: hashKey('member'), role: 'member' }] },
    gateways: {
      formatMetrics: async () => 'of_gateways 1\n',
      connections: async () => ({ connections: live, leftOut: 7 }),
    },
  })
  onTestFinished(control.close)
  const by = (key: string) => ({ 'open-sandbox-api-key': key })
  const make = async (key: string) =>
    String((await control.call('POST', '/sandboxes', MINIMAL, by(key))).body.id)
  const [red, blue] = [await make('red'), await make('blue')]
  live.push(
    connection({ sandboxId: red }),
    connection({ sandboxId: blue }),
    connection({ sandboxId: 'gone' }),
  )
  const ask = async (key: string, query = '') => {
    const { status, body } = await control.call('GET', `/v1/admin/connections${query}`, undefined, by(key))
    return [
      status,
      (body.items as LiveConnection[] | undefined)?.map(({ sandboxId }) => sandboxId),
      body.leftOut,
    ]
  }
  expect(await ask('k')).toEqual([200, [red, blue], 7])
  expect(await ask('k', '?limit=1')).toEqual([200, [red], 8])
  expect(await ask('k', `?sandbox=${blue}`)).toEqual([200, [blue], 0])
  expect(await ask('red')).toEqual([200, [red], 0])
  expect(await ask('red', `?sandbox=${blue}`)).toEqual([200, [], 0])
  expect((await ask('member'))[0]).toBe(403)
  const metrics = await control.call('GET', '/metrics', undefined, by('k'))
  expect(metrics.text).toMatch(/opensandbox_build_info.*of_gateways 1\n$/s)
})

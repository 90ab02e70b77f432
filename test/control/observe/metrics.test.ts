// What Prometheus reads: complete, in its own form as its own tool judges it, with labels that stay few, and not for everybody.

import { spawnSync } from 'node:child_process'
import { expect, onTestFinished, test } from 'vitest'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { reconcile } from '../../../control/sandbox/reconcile.ts'
import {
  type ControlApp,
  type ControlAppOptions,
  createControlApp,
  MINIMAL,
} from '../../support/control-app.ts'
import { byPool, makePool, openPools, untilWarm } from '../pools/support.ts'

function open(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp(options)
  onTestFinished(() => control.close())
  return control
}

/** The samples of a scrape by their names with labels. */
async function scrape(control: ControlApp): Promise<Map<string, number>> {
  const { status, text } = await control.call('GET', '/metrics')
  expect(status).toBe(200)
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const at = line.lastIndexOf(' ')
        return [line.slice(0, at), Number(line.slice(at + 1))]
      }),
  )
}

test('promtool finds nothing wrong with the numbers of a server that has been used', async () => {
  const control = open()
  const { body } = await control.call('POST', '/v1/sandboxes', MINIMAL)
  await control.call('GET', `/v1/sandboxes/${body.id}`)
  await control.call('GET', '/nothing')
  await control.call('POST', '/v1/pools', {
    name: 'p',
    template: MINIMAL,
    capacitySpec: { bufferMin: 0, bufferMax: 1, poolMin: 0, poolMax: 2 },
  })
  await reconcile(control.lives)
  const { headers, text } = await control.call('GET', '/metrics')
  expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  expect(checked.error).toBeUndefined()
  expect([checked.status, checked.stdout, checked.stderr]).toEqual([0, '', ''])
  // Every family of samples says what it is.
  const told = new Set(
    [...text.matchAll(/^# (HELP|TYPE) (\S+)/gm)].map(([, kind, name]) => `${kind} ${name}`),
  )
  for (const line of text.split('\n').filter((each) => each !== '' && !each.startsWith('#'))) {
    const name = (/^\w+/.exec(line)?.[0] ?? '').replace(/_(bucket|sum|count)$/, '')
    expect(told, line).toContain(`HELP ${name}`)
    expect(told, line).toContain(`TYPE ${name}`)
  }
})

test('requests are counted by the pattern of their route, whatever ids and paths are asked for', async () => {
  const control = open()
  for (let n = 0; n < 20; n++) {
    await control.call('GET', `/v1/sandboxes/made-up-${n}`)
    await control.call('GET', `/made/up/${n}`)
    await control.call('DELETE', `/sandboxes/made-up-${n}?x=${n}`)
    await control.call('GET', `/v1/sandboxes/made-up-${n}/proxy/80/a/${n}`)
  }
  const samples = await scrape(control)
  const counted = [...samples].filter(([name]) =>
    name.startsWith('opensandbox_http_request_duration_seconds_count'),
  )
  expect(Object.fromEntries(counted)).toEqual({
    'opensandbox_http_request_duration_seconds_count{method="GET",route="/v1/sandboxes/:id",status="404"}': 20,
    'opensandbox_http_request_duration_seconds_count{method="GET",route="(none)",status="404"}': 20,
    'opensandbox_http_request_duration_seconds_count{method="DELETE",route="/sandboxes/:id",status="404"}': 20,
    'opensandbox_http_request_duration_seconds_count{method="GET",route="/v1/sandboxes/:id/proxy/:port/*",status="404"}': 20,
  })
  expect([...samples.keys()].join('\n')).not.toContain('made')
})

test('creates are timed by phase and outcome, sandboxes counted by state, failures of the runtime by why', async () => {
  const control = open()
  await control.call('POST', '/v1/sandboxes', MINIMAL)
  const { body } = await control.call('POST', '/v1/sandboxes', MINIMAL)
  await control.call('POST', `/v1/sandboxes/${body.id}/pause`)
  await control.call('POST', '/v1/sandboxes', { image: { uri: 'debian' } })
  control.runtime.before = () => {
    throw new RuntimeError('start_failed', 'It does not start')
  }
  expect((await control.call('POST', '/v1/sandboxes', MINIMAL)).status).toBe(500)
  const samples = await scrape(control)
  const creates = (phase: string, outcome: string) =>
    samples.get(`opensandbox_sandbox_create_duration_seconds_count{phase="${phase}",outcome="${outcome}"}`)
  expect([
    creates('request', 'success'),
    creates('request', 'refused'),
    creates('request', 'failure'),
  ]).toEqual([2, 1, 1])
  // It failed in the phase after the last one that had ended.
  expect([creates('image', 'success'), creates('ready', 'success'), creates('root', 'failure')]).toEqual([
    3, 2, 1,
  ])
  expect(samples.get('opensandbox_sandboxes{state="Running"}')).toBe(1)
  expect(samples.get('opensandbox_sandboxes{state="Paused"}')).toBe(1)
  expect(samples.get('opensandbox_sandboxes{state="Failed"}')).toBe(0)
  expect(samples.get('opensandbox_runtime_call_duration_seconds_count{call="create"}')).toBe(3)
  expect(samples.get('opensandbox_runtime_call_failures_total{call="create",reason="start_failed"}')).toBe(1)
})

test('passes of the reconciler are timed, and what they did is counted', async () => {
  const control = open()
  const { body } = await control.call('POST', '/v1/sandboxes', MINIMAL)
  control.runtime.sandboxes.delete(String(body.id))
  control.runtime.sandboxes.set('orphan', { id: 'orphan', state: 'running' })
  await reconcile(control.lives)
  const before = Date.now() / 1000
  control.runtime.before = (call) => {
    if (call === 'list') throw new Error('It does not answer')
  }
  await expect(reconcile(control.lives)).rejects.toThrow('It does not answer')
  const samples = await scrape(control)
  const passes = (outcome: string) =>
    samples.get(`opensandbox_reconcile_pass_duration_seconds_count{outcome="${outcome}"}`)
  expect([passes('success'), passes('failure')]).toEqual([1, 1])
  expect(samples.get('opensandbox_reconciled_sandboxes_total{outcome="changed"}')).toBe(1)
  expect(samples.get('opensandbox_reconciled_sandboxes_total{outcome="removed"}')).toBe(1)
  expect(samples.get('opensandbox_runtime_call_failures_total{call="list",reason="other"}')).toBe(1)
  const last = samples.get('opensandbox_reconcile_last_success_timestamp_seconds') ?? 0
  expect(last).toBeGreaterThan(before - 60)
  expect(last).toBeLessThanOrEqual(before + 1)
})

test('claims of pools are timed, those that fail too', async () => {
  const control = openPools({ execd: { run: async () => ({ ok: false, reason: 'it exited with 1' }) } })
  await makePool(control)
  await untilWarm(control, 2)
  expect((await control.call('POST', '/v1/sandboxes', byPool('p'))).status).toBe(202)
  await untilWarm(control, 2)
  expect((await control.call('POST', '/v1/sandboxes', byPool('p', { env: { A: 'b' } }))).status).toBe(500)
  const samples = await scrape(control)
  const claims = (outcome: string) =>
    samples.get(`opensandbox_sandbox_create_duration_seconds_count{phase="claim",outcome="${outcome}"}`)
  expect(claims('success')).toBe(1)
  expect(claims('failure')).toBeGreaterThan(0)
  expect(samples.get('opensandbox_pool_sandboxes{tenant="default",pool="p",status="claimed"}')).toBe(1)
})

test('pools are told apart, and only so many of them', async () => {
  const control = open()
  const capacity = { bufferMin: 0, bufferMax: 0, poolMin: 0, poolMax: 3 }
  const { pools } = control.pooling.deps
  for (let n = 0; n < 120; n++)
    pools.insert({
      tenant: 'red',
      name: `pool-${String(n).padStart(3, '0')}`,
      template: {},
      capacity,
      createdAt: 0,
      updatedAt: 0,
    })
  const samples = await scrape(control)
  const limit = (tenant: string, pool: string) =>
    samples.get(`opensandbox_pool_capacity{tenant="${tenant}",pool="${pool}",bound="poolMax"}`)
  expect([limit('red', 'pool-000'), limit('red', 'pool-099'), limit('red', 'pool-100')]).toEqual([
    3,
    3,
    undefined,
  ])
  expect(limit('(others)', '(others)')).toBe(60)
  const named = [...samples.keys()].filter((name) => name.startsWith('opensandbox_pool_sandboxes'))
  expect(named).toHaveLength(101 * 3)
})

test('a tenant with many pools leaves names to those of others', async () => {
  const control = open()
  const capacity = { bufferMin: 0, bufferMax: 0, poolMin: 0, poolMax: 3 }
  const { pools } = control.pooling.deps
  const insert = (tenant: string, name: string) =>
    pools.insert({ tenant, name, template: {}, capacity, createdAt: 0, updatedAt: 0 })
  for (let n = 0; n < 150; n++) insert('amber', `pool-${String(n).padStart(3, '0')}`)
  insert('zinc', 'only')
  const samples = await scrape(control)
  const limit = (tenant: string, pool: string) =>
    samples.get(`opensandbox_pool_capacity{tenant="${tenant}",pool="${pool}",bound="poolMax"}`)
  expect([limit('zinc', 'only'), limit('amber', 'pool-098'), limit('amber', 'pool-099')]).toEqual([
    3,
    3,
    undefined,
  ])
})

test('the process, its event loop and its database are in it', async () => {
  const control = open()
  const began = performance.now()
  while (performance.now() - began < 150) {
    // held up on purpose
  }
  await expect
    .poll(async () => (await scrape(control)).get('opensandbox_event_loop_delay_seconds_count') ?? 0)
    .toBeGreaterThan(0)
  const samples = await scrape(control)
  expect(samples.get('opensandbox_event_loop_delay_seconds_sum')).toBeGreaterThan(0.05)
  for (const name of [
    'opensandbox_build_info{version="9.9.9"}',
    'opensandbox_database_bytes{file="main"}',
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'process_start_time_seconds',
    'process_open_fds',
    'nodejs_heap_size_used_bytes',
  ])
    expect(samples.get(name), name).toBeGreaterThan(0)
  // This very request.
  expect(samples.get('opensandbox_http_requests_in_flight')).toBe(1)
})

test('a database that cannot be read takes its own numbers away, and no others', async () => {
  const control = open()
  control.store.database.raw.exec('ALTER TABLE sandboxes RENAME TO elsewhere')
  const samples = await scrape(control)
  expect([...samples.keys()].filter((name) => name.startsWith('opensandbox_sandboxes'))).toEqual([])
  expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(0)
  expect((await scrape(control)).get('opensandbox_figures_failures_total')).toBeGreaterThan(0)
})

test('operators and the token of metrics read them; tenants and others do not', async () => {
  const control = open({
    access: { apiKey: 'of-the-operator' },
    settings: { metricsToken: 'of-the-scraper' },
  })
  const as = (key: string) => ({ 'OPEN-SANDBOX-API-KEY': key })
  const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })
  const operator = as('of-the-operator')
  const made = async (body: object) =>
    as(String((await control.call('POST', '/v1/admin/keys', body, operator)).body.key))
  const reader = await made({ name: 'reader', role: 'read-only' })
  const tenant = await made({ name: 'red', role: 'admin', tenant: 'red' })
  const status = async (headers: Record<string, string>, path = '/metrics') =>
    (await control.call('GET', path, undefined, headers)).status
  expect(await status(operator)).toBe(200)
  expect(await status(reader)).toBe(200)
  expect(await status(bearer('of-the-scraper'))).toBe(200)
  expect(await status(tenant)).toBe(403)
  expect(await status({})).toBe(401)
  expect(await status(bearer('of-somebody'))).toBe(401)
  expect(await status(bearer(''))).toBe(401)
  // A key is no token, and the token opens nothing else.
  expect(await status(bearer('of-the-operator'))).toBe(401)
  expect(await status(bearer('of-the-scraper'), '/v1/sandboxes')).toBe(401)
  expect(await status(as('of-the-scraper'))).toBe(401)
  expect((await control.call('POST', '/metrics', {}, bearer('of-the-scraper'))).status).toBe(405)
})

test('without a key they are for this machine alone', async () => {
  const control = open()
  expect((await control.call('GET', '/metrics')).status).toBe(200)
  const page = await control.call('GET', '/metrics', undefined, { Origin: 'http://evil.example' })
  expect(page.status).toBe(403)
  const named = await control.call('GET', '/metrics', undefined, { host: 'evil.example' })
  expect(named.status).toBe(403)
})

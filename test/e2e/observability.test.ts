// What an operator sees of the whole product, through the one public port.

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'

type Span = { name: string; traceId: string; parentSpanId?: string; spanId: string }

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const spans: Span[] = []
const collector = createServer(async (request, response) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = JSON.parse(Buffer.concat(chunks).toString()) as {
    resourceSpans?: { scopeSpans: { spans: Span[] }[] }[]
  }
  spans.push(...(body.resourceSpans?.[0]?.scopeSpans[0]?.spans ?? []))
  response.end('{}')
})
let edge: Edge

beforeAll(async () => {
  collector.listen(0, '127.0.0.1')
  await once(collector, 'listening')
  const { port } = collector.address() as AddressInfo
  edge = await startEdge({
    config: `[otel]\nenabled = true\nendpoint = "http://127.0.0.1:${port}"\nexport_interval_millis = 1000\n`,
  })
})

afterAll(async () => {
  await edge?.dispose()
  collector.closeAllConnections()
  collector.close()
})

test('a create is seen in the numbers, in its trace and in the log', async () => {
  const created = await fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-Request-ID': 'see-a-create',
      traceparent: `00-${TRACE}-${PARENT}-01`,
    },
    body: JSON.stringify({ image: { uri: 'host' }, entrypoint: ['sleep', '600'], resourceLimits: {} }),
  })
  expect([created.status, created.headers.get('x-request-id')]).toEqual([202, 'see-a-create'])

  const metrics = await fetch(`${edge.url}/metrics`)
  const text = await metrics.text()
  expect(metrics.status).toBe(200)
  const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  expect([checked.status, checked.stdout, checked.stderr]).toEqual([0, '', ''])
  expect(text).toContain('opensandbox_sandboxes{state="Running"} 1\n')
  for (const phase of ['request', 'image', 'root', 'start', 'network', 'ready'])
    expect(text).toContain(
      `opensandbox_sandbox_create_duration_seconds_count{phase="${phase}",outcome="success"} 1\n`,
    )

  await expect
    .poll(() => spans.filter(({ traceId }) => traceId === TRACE).map(({ name }) => name))
    .toContain('POST /v1/sandboxes')
  const mine = spans.filter(({ traceId }) => traceId === TRACE)
  const request = mine.find(({ name }) => name === 'POST /v1/sandboxes')
  expect(request?.parentSpanId).toBe(PARENT)
  expect(
    mine
      .filter(({ parentSpanId }) => parentSpanId === request?.spanId)
      .map(({ name }) => name)
      .filter((name) => !/inspect|list/.test(name))
      .sort(),
  ).toEqual([
    'create: image',
    'create: network',
    'create: ready',
    'create: root',
    'create: start',
    'runtime create',
  ])

  await edge.waitForOutput(/info control sandbox runs .*requestId=see-a-create/)
  await edge.waitForOutput(/info control request method=POST .*status=202 .*requestId=see-a-create/)
})

test('it is ready once it has started', async () => {
  const ready = await fetch(`${edge.url}/ready`)
  expect([ready.status, await ready.json()]).toEqual([
    200,
    {
      status: 'ready',
      checks: {
        database: { ok: true },
        runtime: { ok: true },
        egress: { ok: true },
        reconciler: { ok: true },
      },
    },
  ])
})

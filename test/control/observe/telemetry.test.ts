// What a collector of OpenTelemetry gets, and that nothing waits for one.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createExecdClient } from '../../../control/execd-client.ts'
import type { RequestDone } from '../../../control/observe/observer.ts'
import { createRequestScope } from '../../../control/observe/request-scope.ts'
import { openTelemetry, type TelemetrySettings } from '../../../control/observe/telemetry.ts'
import { EXECD_TOKEN_HEADER } from '../../../lib/api/execd.ts'
import { createLogger } from '../../../lib/log.ts'
import { type ControlApp, createControlApp, MINIMAL } from '../../support/control-app.ts'

type Attribute = { key: string; value: Record<string, unknown> }
type Span = {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  attributes: Attribute[]
  status: { code?: number }
  startTimeUnixNano: string
  endTimeUnixNano: string
}
type Metric = {
  name: string
  unit: string
  histogram: { dataPoints: { attributes: Attribute[]; count: string; sum: number }[] }
}
type Body = {
  resourceSpans?: { resource: { attributes: Attribute[] }; scopeSpans: { spans: Span[] }[] }[]
  resourceMetrics?: { resource: { attributes: Attribute[] }; scopeMetrics: { metrics: Metric[] }[] }[]
}
type Received = { path: string; headers: IncomingHttpHeaders; body: Body }

async function listen(handler: RequestListener): Promise<string> {
  const server = createServer(handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function startCollector(answer: () => number = () => 200) {
  const received: Received[] = []
  const url = await listen(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Body
    received.push({ path: request.url ?? '', headers: request.headers, body })
    response.writeHead(answer()).end('{}')
  })
  const spans = () => received.flatMap(({ body }) => body.resourceSpans?.[0]?.scopeSpans[0]?.spans ?? [])
  return { url, received, spans }
}

const settingsFor = (endpoint: string, more: Partial<TelemetrySettings> = {}): TelemetrySettings => ({
  endpoint,
  serviceName: 'opensandbox-server',
  intervalMs: 20,
  headers: {},
  ...more,
})

function open(telemetry?: TelemetrySettings): ControlApp & { lines: string[] } {
  const lines: string[] = []
  const control = createControlApp({
    ...(telemetry && { telemetry }),
    log: createLogger({ program: 'control', level: 'debug', write: (line) => lines.push(line) }),
  })
  onTestFinished(() => control.close())
  return { ...control, lines }
}

const valuesOf = (attributes: Attribute[] = []) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

test('the histograms of the contract are sent with the attributes it names', async () => {
  const collector = await startCollector()
  const control = open(settingsFor(`${collector.url}/`, { headers: { Authorization: 'Basic abc' } }))
  const event = { eventType: 'sandbox.create', createDurationMs: 812, success: true }
  await control.call('POST', '/v1/metrics/events', event, { 'User-Agent': 'OpenSandbox-Python-SDK/1.1.1' })
  await control.call('POST', '/v1/metrics/events', { ...event, success: false })
  await control.call('GET', '/v1/sandboxes/unknown')
  const histogram = (name: string) =>
    collector.received
      .flatMap(({ body }) => body.resourceMetrics?.[0]?.scopeMetrics[0]?.metrics ?? [])
      .findLast((metric) => metric.name === name)
  await expect.poll(() => histogram('server.http.request.duration')?.histogram.dataPoints.length).toBe(2)
  const creates = histogram('opensandbox.sandbox.create.duration')
  expect(creates?.unit).toBe('ms')
  expect(
    creates?.histogram.dataPoints.map(({ attributes, count, sum }) => [valuesOf(attributes), count, sum]),
  ).toEqual([
    [{ 'sdk.language': 'python', 'sdk.version': '1.1.1', success: true }, '1', 812],
    [{ 'sdk.language': 'unknown', 'sdk.version': 'unknown', success: false }, '1', 812],
  ])
  const requests = histogram('server.http.request.duration')
  expect(
    requests?.histogram.dataPoints.map(({ attributes, count }) => [valuesOf(attributes), count]),
  ).toEqual([
    [{ http_method: 'POST', http_route: '/v1/metrics/events', http_status_code: '204' }, '2'],
    [{ http_method: 'GET', http_route: '/v1/sandboxes/:id', http_status_code: '404' }, '1'],
  ])
  const last = collector.received.findLast(({ path }) => path === '/v1/metrics')
  expect(valuesOf(last?.body.resourceMetrics?.[0]?.resource.attributes)).toEqual({
    'service.name': 'opensandbox-server',
    'service.version': '9.9.9',
  })
  expect(last?.headers).toMatchObject({ 'content-type': 'application/json', authorization: 'Basic abc' })
})

test('a create is a trace of its caller: the request, the runtime, the phases', async () => {
  const collector = await startCollector()
  const control = open(settingsFor(collector.url))
  await control.call('POST', '/v1/sandboxes', MINIMAL, {
    traceparent: `00-${TRACE}-${SPAN}-01`,
    'X-Request-ID': 'r-1',
  })
  await expect
    .poll(() =>
      collector
        .spans()
        .map(({ name }) => name)
        .sort(),
    )
    .toEqual(['POST /v1/sandboxes', 'create: image', 'create: ready', 'runtime create'])
  const spans = collector.spans()
  const request = spans.find(({ kind }) => kind === 2)
  expect(request).toMatchObject({
    traceId: TRACE,
    parentSpanId: SPAN,
    name: 'POST /v1/sandboxes',
    status: {},
  })
  expect(valuesOf(request?.attributes)).toEqual({
    'http.request.method': 'POST',
    'http.route': '/v1/sandboxes',
    'http.response.status_code': '202',
    'opensandbox.request_id': 'r-1',
  })
  for (const span of spans) {
    expect(span.traceId).toBe(TRACE)
    expect(BigInt(span.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span.startTimeUnixNano))
    if (span !== request) expect(span.parentSpanId).toBe(request?.spanId)
  }
  expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(4)
  expect(control.lines.find((line) => line.includes('sandbox runs'))).toContain(`traceId=${TRACE}`)
})

test('a request without a trace begins one; what its caller does not sample is not sent', async () => {
  const collector = await startCollector()
  const control = open(settingsFor(collector.url))
  await control.call('GET', '/v1/sandboxes', undefined, { traceparent: `00-${TRACE}-${SPAN}-00` })
  await control.call('GET', '/health')
  await expect.poll(() => collector.spans().map(({ name }) => name)).toEqual(['GET /health'])
  const [span] = collector.spans()
  expect(span?.traceId).toMatch(/^[0-9a-f]{32}$/)
  expect(span?.traceId).not.toBe(TRACE)
  expect(span).not.toHaveProperty('parentSpanId')
})

test('execd is told of the trace, with telemetry as a child of the request, without it as it came', async () => {
  const asked: IncomingHttpHeaders[] = []
  const url = new URL(
    await listen((request, response) => {
      asked.push(request.headers)
      response.end('{}')
    }),
  )
  const scope = createRequestScope()
  const execd = createExecdClient({ port: Number(url.port), headers: scope.traceHeaders })
  const ping = () => execd.ping({ address: '127.0.0.1', token: 't' }, AbortSignal.timeout(5000))
  const trace = { traceId: TRACE, spanId: SPAN, isSampled: true, state: 'a=b' }
  await scope.run({ requestId: 'r', trace }, ping)
  await scope.run({ requestId: 'r' }, ping)
  await ping()
  expect(asked[0]).toMatchObject({
    traceparent: `00-${TRACE}-${SPAN}-01`,
    tracestate: 'a=b',
    [EXECD_TOKEN_HEADER.toLowerCase()]: 't',
  })
  expect(asked.slice(1).map(({ traceparent }) => traceparent)).toEqual([undefined, undefined])
  const off = open()
  expect(off.observation.beginTrace(trace)).toBe(trace)
  expect(off.observation.beginTrace(undefined)).toBeUndefined()
  const on = open(settingsFor('http://127.0.0.1:9'))
  const own = on.observation.beginTrace(trace)
  expect(own).toMatchObject({ traceId: TRACE, isSampled: true, state: 'a=b' })
  expect(own?.spanId).not.toBe(SPAN)
})

test('without telemetry nothing of it is loaded', () => {
  const loaded = new Set<string>()
  const load = (file: string) => {
    if (loaded.has(file)) return
    loaded.add(file)
    const source = readFileSync(file, 'utf8')
    for (const [, path = ''] of source.matchAll(/^(?:import|export) (?!type\b)[^'"]*?from '(\.[^']+)'/gm))
      load(join(dirname(file), path))
  }
  load(join(import.meta.dirname, '../../../control/main.ts'))
  load(join(import.meta.dirname, '../../../control/control.ts'))
  expect(loaded.size).toBeGreaterThan(80)
  expect([...loaded].filter((file) => /\/lib\/otlp\/|observe\/telemetry/.test(file))).toEqual([])
})

test('the last is sent when the server stops', async () => {
  const collector = await startCollector()
  const control = createControlApp({ telemetry: settingsFor(collector.url, { intervalMs: 3_600_000 }) })
  await control.call('GET', '/health')
  await control.close()
  expect(collector.received.map(({ path }) => path).sort()).toEqual(['/v1/metrics', '/v1/traces'])
})

test.each([
  ['is away', async () => 'http://127.0.0.1:9'],
  ['answers errors', async () => (await startCollector(() => 503)).url],
  ['never answers', () => listen(() => {})],
  ['breaks off', () => listen((request) => void request.socket.destroy())],
])('a collector that %s holds up no request, and is told of once', async (_what, start) => {
  const control = open(settingsFor(await start()))
  for (let round = 0; round < 20; round++) {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => control.call('GET', '/v1/sandboxes/unknown')),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([404]))
    // Exports come in between.
    await new Promise((resolve) => setImmediate(resolve))
  }
  const created = await control.call('POST', '/v1/sandboxes', MINIMAL)
  expect(created.status).toBe(202)
  const told = control.lines.filter((line) => line.includes('telemetry does not reach'))
  expect(told.length).toBeLessThanOrEqual(2)
})

test('what a collector does not take is not kept: spans are bounded, series too', async () => {
  const lines: string[] = []
  const received: Received[] = []
  let accepts = false
  const url = await listen(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    if (!accepts) return // hangs
    received.push({
      path: request.url ?? '',
      headers: request.headers,
      body: JSON.parse(Buffer.concat(chunks).toString()) as Body,
    })
    response.end('{}')
  })
  const scope = createRequestScope()
  const telemetry = openTelemetry({
    settings: settingsFor(url, { intervalMs: 3_600_000 }),
    version: '1',
    scope,
    log: createLogger({ program: 'control', write: (line) => lines.push(line) }),
  })
  const done = (n: number): RequestDone => ({
    method: 'GET',
    route: `/route-${n}`,
    status: 200,
    beganAt: n,
    ms: 1,
    scoped: { requestId: 'r', trace: { traceId: TRACE, spanId: SPAN, isSampled: true } },
  })
  for (let n = 0; n < 20_000; n++) telemetry.observer.requestDone?.(done(n))
  expect(lines.filter((line) => line.includes('spans are dropped'))).toHaveLength(1)
  accepts = true
  await telemetry.close(10_000)
  const spans = received.flatMap(({ body }) => body.resourceSpans?.[0]?.scopeSpans[0]?.spans ?? [])
  expect(spans).toHaveLength(1024)
  const points = received.flatMap(
    ({ body }) => body.resourceMetrics?.[0]?.scopeMetrics[0]?.metrics[0]?.histogram.dataPoints ?? [],
  )
  expect(points).toHaveLength(1000)
})

// execd's telemetry as a collector gets it.

import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { VERSION } from '../../../lib/version.ts'
import { startFairClock } from '../../support/fair-time.ts'
import { startDaemon, until } from '../daemon.ts'

type Value = { stringValue?: string; intValue?: string }
type Attribute = { key: string; value: Value }
type Point = {
  attributes: Attribute[]
  startTimeUnixNano: string
  timeUnixNano: string
  count?: string
  sum?: number
  bucketCounts?: string[]
  asInt?: string
  asDouble?: number
}
type Metric = {
  name: string
  unit?: string
  histogram?: { aggregationTemporality: number; dataPoints: Point[] }
  gauge?: { dataPoints: Point[] }
  sum?: { aggregationTemporality: number; isMonotonic: boolean; dataPoints: Point[] }
}
type Export = {
  resourceMetrics: {
    resource: { attributes: Attribute[] }
    scopeMetrics: { scope: { name: string }; metrics: Metric[] }[]
  }[]
}
type Received = { path: string; headers: IncomingHttpHeaders; body: Export }

async function startCollector(answer: () => number = () => 200) {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Export
    received.push({ path: request.url ?? '', headers: request.headers, body })
    response.writeHead(answer()).end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received }
}

const startWith = (env: Record<string, string>) =>
  startDaemon({ env: { PATH: '/usr/bin:/bin', HOME: '/tmp', OPENSANDBOX_ID: 'sb-1', ...env } })

function metricsOf(received: Received | undefined): Metric[] {
  return received?.body.resourceMetrics[0]?.scopeMetrics[0]?.metrics ?? []
}

function pointsOf(received: Received | undefined, name: string): Record<string, unknown>[] {
  const metric = metricsOf(received).find((each) => each.name === name)
  const { dataPoints = [] } = metric?.histogram ?? metric?.gauge ?? metric?.sum ?? {}
  return dataPoints.map(({ attributes, ...rest }) => ({ ...rest, ...toRecord(attributes) }))
}

function toRecord(attributes: Attribute[]): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.intValue === undefined ? value.stringValue : Number(value.intValue),
    ]),
  )
}

test('M4: what happened since the last export is exported at the end', async () => {
  const collector = await startCollector()
  await using execd = await startWith({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-key=secret%20key',
    OPENSANDBOX_EXECD_METRICS_EXTRA_ATTRS: 'team=a',
  })
  await execd.run({ command: 'true' })
  await execd.run({ command: 'false' })
  await execd.call('/files/info?path=/tmp')
  await execd.call('/files/info?path=/nowhere')
  await execd.call('/made/up/path')
  expect(collector.received).toEqual([])
  await execd.stop()

  const [last] = collector.received
  expect(last?.path).toBe('/v1/metrics')
  expect(last?.headers).toMatchObject({ 'content-type': 'application/json', 'x-key': 'secret key' })
  const [whole] = last?.body.resourceMetrics ?? []
  expect(toRecord(whole?.resource.attributes ?? [])).toEqual({
    'service.name': `opensandbox-execd-${VERSION}`,
    sandbox_id: 'sb-1',
  })
  expect(whole?.scopeMetrics[0]?.scope.name).toBe('opensandbox/execd')

  const common = { sandbox_id: 'sb-1', team: 'a', count: '1' }
  expect(pointsOf(last, 'execd.execution.duration')).toEqual([
    expect.objectContaining({ ...common, operation: 'run_command', result: 'success' }),
    expect.objectContaining({ ...common, operation: 'run_command', result: 'failure' }),
  ])
  expect(pointsOf(last, 'execd.filesystem.operations.duration')).toEqual([
    expect.objectContaining({ ...common, operation: 'info', result: 'success' }),
    expect.objectContaining({ ...common, operation: 'info', result: 'failure' }),
  ])
  const requests = pointsOf(last, 'execd.http.request.duration')
  const told = (point: Record<string, unknown>) => [
    point.http_method,
    point.http_route,
    point.http_status_code,
    point.count,
  ]
  expect(requests.map(told)).toEqual([
    ['POST', '/command', 200, '2'],
    ['GET', '/files/info', 200, '1'],
    ['GET', '/files/info', 404, '1'],
    ['GET', 'unknown', 404, '1'],
  ])
  for (const { bucketCounts, explicitBounds, count, startTimeUnixNano, timeUnixNano } of requests) {
    const counts = (bucketCounts as string[]).map(Number)
    expect(counts.length).toBe((explicitBounds as number[]).length + 1)
    expect(counts.reduce((sum, each) => sum + each, 0)).toBe(Number(count))
    expect(BigInt(String(timeUnixNano))).toBeGreaterThan(BigInt(String(startTimeUnixNano)))
  }
})

test('the sandbox is measured at every interval', async () => {
  const collector = await startCollector()
  await using execd = await startWith({
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${collector.url}/elsewhere`,
    OTEL_METRIC_EXPORT_INTERVAL: '50',
  })
  expect(execd.ready.ok).toBe(true)
  await until(async () => collector.received.length >= 3, 'three exports')
  const last = collector.received[2]
  expect(last?.path).toBe('/elsewhere')
  expect(metricsOf(last).map(({ name, unit }) => [name, unit])).toEqual([
    ['execd.system.process.count', undefined],
    ['execd.system.cpu.usage', '%'],
    ['execd.system.memory.usage_bytes', 'By'],
    ['execd.system.network.io.bytes', 'By'],
    ['execd.system.network.connections.active', undefined],
  ])
  expect(Number(pointsOf(last, 'execd.system.process.count')[0]?.asInt)).toBeGreaterThan(1)
  expect(Number(pointsOf(last, 'execd.system.memory.usage_bytes')[0]?.asInt)).toBeGreaterThan(0)
  expect(pointsOf(last, 'execd.system.network.io.bytes').map(({ direction }) => direction)).toEqual([
    'in',
    'out',
  ])
  expect(pointsOf(last, 'execd.system.network.connections.active').map(({ protocol }) => protocol)).toEqual([
    'tcp',
    'udp',
  ])
  expect(metricsOf(last).find(({ sum }) => sum)?.sum).toMatchObject({
    aggregationTemporality: 2,
    isMonotonic: true,
  })
})

test('a collector that fails for a while loses nothing', async () => {
  let status = 503
  const collector = await startCollector(() => status)
  await using execd = await startWith({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_METRIC_EXPORT_INTERVAL: '50',
  })
  await execd.run({ command: 'true' })
  await until(async () => collector.received.length >= 2, 'two exports')
  status = 200
  const before = collector.received.length
  await until(async () => collector.received.length >= before + 2, 'two more')
  expect(pointsOf(collector.received.at(-1), 'execd.execution.duration')).toMatchObject([{ count: '1' }])
})

test('nobody waits for a collector that does not answer, not at the start, not at the end', async () => {
  const server = createServer(() => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  await using execd = await startWith({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` })
  await execd.run({ command: 'true' })
  using clock = startFairClock()
  await execd.stop()
  expect(clock.elapsedMs()).toBeLessThan(5000)
})

test('the headers of the collector are no variable of a command', async () => {
  const collector = await startCollector()
  await using execd = await startWith({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-key=secret',
  })
  const events = await execd.run({ command: 'env' })
  expect(JSON.stringify(events)).not.toContain('x-key=secret')
})

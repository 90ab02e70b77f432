import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { openObservation } from '../../egress/observation.ts'
import { createSilentLogger } from '../../lib/log.ts'

const FIGURES = {
  sandboxes: () => 1,
  rules: () => 30,
  learned: () => 4,
  connections: () => 0,
  upstream: () => ({ hits: 0, misses: 0, failures: 0 }),
}

test("O6: a collector gets the contract's numbers from the host, past every policy", async () => {
  const got: { path: string | undefined; login: string | undefined; body: string }[] = []
  const collector = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      got.push({ path: request.url, login: request.headers.authorization, body })
      response.end('{}')
    })
  })
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void collector.close())
  const observation = await openObservation({
    figures: FIGURES,
    otel: {
      endpoint: `http://127.0.0.1:${(collector.address() as AddressInfo).port}/`,
      serviceName: 'x',
      exportIntervalMs: 60_000,
      headers: { Authorization: 'Basic x' },
    },
    log: createSilentLogger(),
  })
  observation.questionAnswered({ transport: 'udp', rcode: 0, isBlocked: false, ms: 0.2 })
  observation.questionAnswered({ transport: 'udp', rcode: 3, isBlocked: true, ms: 0.2 })
  observation.decided({ kind: 'name', verdict: 'deny', reason: 'x', count: 2 })
  observation.decided({ kind: 'connection', verdict: 'deny', reason: 'x' })
  observation.rulesApplied(false)
  observation.rulesApplied(true)
  await observation.close()
  expect(got).toMatchObject([{ path: '/v1/metrics', login: 'Basic x' }])
  const [resource] = JSON.parse(got[0]?.body ?? '').resourceMetrics
  const metrics: Record<string, unknown>[] = resource.scopeMetrics[0].metrics
  const named = (name: string) => metrics.find((metric) => metric.name === name)
  expect(named('egress.dns.query.duration')).toMatchObject({
    unit: 's',
    histogram: { dataPoints: [{ count: '1', explicitBounds: expect.arrayContaining([0.0005]) }] },
  })
  expect(named('egress.policy.denied_total')).toMatchObject({ sum: { dataPoints: [{ asInt: '2' }] } })
  expect(named('egress.nftables.rules.count')).toMatchObject({ gauge: { dataPoints: [{ asInt: '34' }] } })
  expect(named('egress.nftables.updates.count')).toMatchObject({ sum: { dataPoints: [{ asInt: '1' }] } })
  expect(named('egress.system.memory.usage_bytes')).toBeDefined()
  expect(named('egress.system.cpu.utilization')).toBeDefined()
  // Prometheus has the same.
  expect(await observation.metrics.format()).toContain('opensandbox_egress_policy_rules 30')
})

test('without a collector nothing is sent', async () => {
  const observation = await openObservation({ figures: FIGURES, log: createSilentLogger() })
  observation.rulesApplied(false)
  await observation.close()
  expect(await observation.metrics.format()).toContain('nftables_updates_total{outcome="success"} 1')
})

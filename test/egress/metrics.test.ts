import { expect, test } from 'vitest'
import { createEgressMetrics } from '../../egress/metrics.ts'

test('counts what happens, and looks up how much there is', async () => {
  const metrics = createEgressMetrics({
    sandboxes: () => 2,
    rules: () => 30,
    learned: () => 4,
    connections: () => 5,
    upstream: () => ({ hits: 6, misses: 7, failures: 8 }),
    webhook: () => ({ sent: 1, dropped: 2, failed: 3, repeated: 4 }),
  })
  metrics.questionAnswered({ transport: 'udp', rcode: 0, isBlocked: false, ms: 0.2 })
  metrics.questionAnswered({ transport: 'udp', rcode: 3, isBlocked: true, ms: 0.1 })
  metrics.questionAnswered({ transport: 'tcp', rcode: 2, isBlocked: false, ms: 2000 })
  metrics.decided({ kind: 'name', verdict: 'deny', reason: 'x', count: 3 })
  metrics.decided({ kind: 'connection', verdict: 'allow', reason: 'x', bytesSent: 10, bytesReceived: 20 })
  metrics.rulesApplied(false)
  metrics.rulesApplied(true)
  const text = await metrics.format()
  for (const line of [
    'dns_query_duration_seconds_bucket{le="0.00025",transport="udp",outcome="answered"} 1',
    'dns_query_duration_seconds_count{transport="udp",outcome="blocked"} 1',
    'dns_query_duration_seconds_count{transport="tcp",outcome="failed"} 1',
    'decisions_total{kind="name",verdict="deny"} 3',
    'decisions_total{kind="connection",verdict="allow"} 1',
    'decisions_total{kind="request",verdict="deny"} 0',
    'relayed_bytes_total{direction="sent"} 10',
    'relayed_bytes_total{direction="received"} 20',
    'nftables_updates_total{outcome="success"} 1',
    'nftables_updates_total{outcome="failure"} 1',
    'sandboxes 2',
    'policy_rules 30',
    'learned_addresses 4',
    'relayed_connections 5',
    'dns_upstream_total{outcome="failures"} 8',
    'deny_webhook_total{outcome="repeated"} 4',
  ])
    expect(text).toContain(`\nopensandbox_egress_${line}\n`)
  // Control puts them behind its own, and a family may be there once only.
  const families = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name ?? '')
  expect(families.every((name) => name.startsWith('opensandbox_egress_'))).toBe(true)
})

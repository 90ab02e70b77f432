// What egress sends to a collector of OpenTelemetry, when one is configured: the contract's numbers (egress.md 7). Loaded only then.

import type { Logger } from '../lib/log.ts'
import { runExporter } from '../lib/otlp/exporter.ts'
import { Histogram } from '../lib/otlp/histogram.ts'
import { formatMetrics } from '../lib/otlp/metrics.ts'
import type { EgressFigures } from './metrics.ts'
import type { Decided } from './record.ts'

export type EgressTelemetryOptions = {
  settings: { endpoint: string; exportIntervalMs: number; headers: Record<string, string> }
  figures: Pick<EgressFigures, 'rules' | 'learned'>
  version: string
  log: Logger
}

export type EgressTelemetry = {
  questionAnswered(answered: { isBlocked: boolean; ms: number }): void
  decided(decided: Decided): void
  rulesApplied(isFailed: boolean): void
  /** Sends what there is a last time. */
  close(deadlineMs: number): Promise<void>
}

const TIMEOUT_MS = 10_000
const SCOPE = 'opensandbox/egress'
const QUESTION_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5]

export function openEgressTelemetry({
  settings,
  figures,
  version,
  log,
}: EgressTelemetryOptions): EgressTelemetry {
  const questions = new Histogram(QUESTION_SECONDS)
  let denied = 0
  let updates = 0
  const startedAtMs = Date.now()
  let cpu = process.cpuUsage()
  let cpuAt = performance.now()
  const takeCpu = () => {
    const used = process.cpuUsage(cpu)
    const at = performance.now()
    const share = (used.user + used.system) / 1000 / Math.max(at - cpuAt, 1)
    cpu = process.cpuUsage()
    cpuAt = at
    return Math.min(share, 1)
  }
  const exporter = runExporter({
    url: new URL(`${settings.endpoint.replace(/\/+$/, '')}/v1/metrics`),
    headers: settings.headers,
    timeoutMs: TIMEOUT_MS,
    intervalMs: settings.exportIntervalMs,
    what: 'metrics',
    log,
    takeBody: () =>
      formatMetrics({
        scope: SCOPE,
        metrics: [
          {
            name: 'egress.dns.query.duration',
            unit: 's',
            histogram: questions.series,
            bounds: QUESTION_SECONDS,
          },
          { name: 'egress.policy.denied_total', counter: [{ value: denied }] },
          { name: 'egress.nftables.rules.count', gauge: [{ value: figures.rules() + figures.learned() }] },
          { name: 'egress.nftables.updates.count', counter: [{ value: updates }] },
          {
            name: 'egress.system.memory.usage_bytes',
            unit: 'By',
            gauge: [{ value: process.memoryUsage.rss() }],
          },
          { name: 'egress.system.cpu.utilization', unit: '1', gauge: [{ value: takeCpu() }] },
        ],
        resource: { 'service.name': `opensandbox-egress-${version}`, 'service.version': version },
        attributes: {},
        startedAtMs,
        nowMs: Date.now(),
      }),
  })
  return {
    questionAnswered({ isBlocked, ms }) {
      // Those that were denied are counted, and not timed (contract: egress.md 7).
      if (!isBlocked) questions.record(ms / 1000, {})
    },
    decided({ kind, verdict, count = 1 }) {
      if (kind === 'name' && verdict === 'deny') denied += count
    },
    rulesApplied(isFailed) {
      if (!isFailed) updates++
    },
    close: (deadlineMs) => exporter.close(deadlineMs),
  }
}

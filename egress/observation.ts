// Who listens to what egress does: the numbers for Prometheus always, OpenTelemetry when it is configured.

import type { OtelConfig } from '../lib/config/otel.ts'
import type { Logger } from '../lib/log.ts'
import { VERSION } from '../lib/version.ts'
import { createEgressMetrics, type EgressFigures, type EgressMetrics } from './metrics.ts'

export type Observation = Pick<EgressMetrics, 'questionAnswered' | 'decided' | 'rulesApplied'> & {
  metrics: Pick<EgressMetrics, 'format' | 'contentType'>
  close(): Promise<void>
}

/** What is sent a last time at the stop has so long. */
const LAST_EXPORT_MS = 2000

export async function openObservation({
  figures,
  otel,
  log,
}: {
  figures: EgressFigures
  otel?: OtelConfig
  log: Logger
}): Promise<Observation> {
  const metrics = createEgressMetrics(figures)
  if (!otel) return { ...metrics, metrics, close: async () => {} }
  const { openEgressTelemetry } = await import('./telemetry.ts')
  const telemetry = openEgressTelemetry({ settings: otel, figures, version: VERSION, log })
  return {
    metrics,
    questionAnswered(answered) {
      metrics.questionAnswered(answered)
      telemetry.questionAnswered(answered)
    },
    decided(decided) {
      metrics.decided(decided)
      telemetry.decided(decided)
    },
    rulesApplied(isFailed) {
      metrics.rulesApplied(isFailed)
      telemetry.rulesApplied(isFailed)
    },
    close: () => telemetry.close(LAST_EXPORT_MS),
  }
}

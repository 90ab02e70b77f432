// Telemetry to a collector: what requests took, and what the sandbox uses. It costs a sandbox nothing unless its environment
// names a collector; then a request costs a few additions, and every interval one small request to the collector.

import { readFileSync } from 'node:fs'
import type { Logger } from '../../lib/log.ts'
import { runExporter } from '../../lib/otlp/exporter.ts'
import { Histogram } from '../../lib/otlp/histogram.ts'
import { formatMetrics, type MetricData } from '../../lib/otlp/metrics.ts'
import type { Seen } from '../http/router.ts'
import { percentBetween } from './cpu-meter.ts'
import { parseExportConfig } from './export-config.ts'
import { HOST_INFO_FILE } from './export-wanted.ts'
import { operationOf, routeTemplateOf } from './operations.ts'
import { createReadings, type Readings } from './read.ts'

export type Telemetry = {
  /** Takes note of an answered request. */
  observe(seen: Seen): void
  /** Sends what there is a last time, and ends. Resolves when it is sent, or after `deadlineMs`. */
  close(deadlineMs: number): Promise<void>
}

/** Begins to export, when the environment names a collector. */
export function openTelemetry({
  env,
  log,
}: {
  env: Record<string, string>
  log: Logger
}): Telemetry | undefined {
  const config = parseExportConfig(env, readHostInfo())
  if (!config) return undefined
  const histograms = {
    http: new Histogram(),
    execution: new Histogram(),
    filesystem: new Histogram(),
    isolation: new Histogram(),
  }
  const startedAtMs = Date.now()
  const gauges = createGauges(createReadings())
  const exporter = runExporter({
    ...config,
    what: 'metrics',
    log,
    takeBody: () =>
      formatMetrics({
        scope: 'opensandbox/execd',
        metrics: [
          { name: 'execd.http.request.duration', unit: 'ms', histogram: histograms.http.series },
          { name: 'execd.execution.duration', unit: 'ms', histogram: histograms.execution.series },
          {
            name: 'execd.filesystem.operations.duration',
            unit: 'ms',
            histogram: histograms.filesystem.series,
          },
          { name: 'execd.isolation.run.duration', unit: 'ms', histogram: histograms.isolation.series },
          ...gauges(),
        ],
        resource: config.resource,
        attributes: config.attributes,
        startedAtMs,
        nowMs: Date.now(),
      }),
  })
  return {
    observe: (seen) => {
      histograms.http.record(seen.ms, {
        http_method: seen.method,
        http_route: routeTemplateOf(seen),
        http_status_code: seen.status,
      })
      const done = operationOf(seen)
      if (!done) return
      const result = seen.status >= 400 || seen.isFailed ? 'failure' : 'success'
      const { histogram, ...more } = done
      histograms[histogram].record(seen.ms, { ...more, result })
    },
    close: exporter.close,
  }
}

function createGauges(readings: Readings): () => MetricData[] {
  let last = readings.cpu()
  return () => {
    const cpu = readings.cpu()
    const percent = percentBetween(last, cpu)
    last = cpu
    const sockets = readings.sockets()
    const network = readings.network()
    return [
      { name: 'execd.system.process.count', gauge: [{ value: readings.processes() }] },
      { name: 'execd.system.cpu.usage', unit: '%', gauge: [{ value: percent }] },
      {
        name: 'execd.system.memory.usage_bytes',
        unit: 'By',
        gauge: [{ value: readings.memory().usedBytes }],
      },
      {
        name: 'execd.system.network.io.bytes',
        unit: 'By',
        counter: network
          ? [
              { value: network.received, attributes: { direction: 'in' } },
              { value: network.sent, attributes: { direction: 'out' } },
            ]
          : [],
      },
      {
        name: 'execd.system.network.connections.active',
        gauge: [
          { value: sockets.tcp, attributes: { protocol: 'tcp' } },
          { value: sockets.udp, attributes: { protocol: 'udp' } },
        ],
      },
    ]
  }
}

function readHostInfo(): string | undefined {
  try {
    return readFileSync(HOST_INFO_FILE, 'utf8')
  } catch {
    return undefined // most machines have none
  }
}

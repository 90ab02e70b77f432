// Telemetry to a collector: what requests took, and what the sandbox uses. It costs a sandbox nothing unless its environment
// names a collector; then a request costs a few additions, and every interval one small request to the collector.

import { readFileSync } from 'node:fs'
import { type ClientRequest, request as httpRequest, type RequestOptions } from 'node:http'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Seen } from '../http/router.ts'
import { percentBetween } from './cpu-meter.ts'
import { type ExportConfig, parseExportConfig } from './export-config.ts'
import { HOST_INFO_FILE } from './export-wanted.ts'
import { Histogram } from './histogram.ts'
import { operationOf, routeTemplateOf } from './operations.ts'
import { formatExport, type MetricData } from './otlp.ts'
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
  let isFailing = false

  const send = async (timeoutMs: number): Promise<void> => {
    const body = formatExport({
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
    })
    try {
      await post(config, JSON.stringify(body), timeoutMs)
      if (isFailing) log.info('telemetry reaches its collector again')
      isFailing = false
    } catch (error) {
      if (!isFailing)
        log.warn('telemetry does not reach its collector', {
          host: config.url.host,
          error: messageOf(error),
        })
      isFailing = true
    }
  }

  let isSending = false
  const timer = setInterval(async () => {
    // A slow collector is not sent the next before it has taken the last.
    if (isSending) return
    isSending = true
    await send(config.timeoutMs)
    isSending = false
  }, config.intervalMs)
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
    close: (deadlineMs) => {
      clearInterval(timer)
      return send(deadlineMs)
    },
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

async function post({ url, headers }: ExportConfig, body: string, timeoutMs: number): Promise<void> {
  const request = await requestOf(url)
  const signal = AbortSignal.timeout(timeoutMs)
  await new Promise<void>((resolve, reject) => {
    const outgoing = request(url, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
      agent: false,
      signal,
    })
    outgoing.once('error', reject)
    outgoing.once('response', (answer) => {
      const { statusCode = 0 } = answer
      answer.resume()
      if (statusCode >= 200 && statusCode < 300) resolve()
      else reject(new Error(`It answers with status ${statusCode}`))
    })
    outgoing.end(body)
  })
}

type Request = (url: URL, options: RequestOptions) => ClientRequest

/** TLS is a large module that most sandboxes never need. */
async function requestOf(url: URL): Promise<Request> {
  return url.protocol === 'https:' ? (await import('node:https')).request : httpRequest
}

function readHostInfo(): string | undefined {
  try {
    return readFileSync(HOST_INFO_FILE, 'utf8')
  } catch {
    return undefined // most machines have none
  }
}

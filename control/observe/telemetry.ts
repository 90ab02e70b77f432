// OpenTelemetry: the contract's two histograms (v1.1.md 7.4), and a span for each request with those of the runtime's work below
// it. Loaded only when it is configured. A request pays for a few additions: what is to be sent waits in a buffer that is
// bounded, and what does not fit, or a collector does not take, is gone.

import { randomBytes } from 'node:crypto'
import type { Logger } from '../../lib/log.ts'
import { runExporter } from '../../lib/otlp/exporter.ts'
import { Histogram } from '../../lib/otlp/histogram.ts'
import { formatMetrics } from '../../lib/otlp/metrics.ts'
import { formatTraces, type Span } from '../../lib/otlp/traces.ts'
import type { Observer } from './observer.ts'
import type { RequestScope } from './request-scope.ts'
import { SdkLabels } from './sdk-labels.ts'
import type { TraceContext } from './trace-context.ts'

export type TelemetrySettings = {
  /** Where the collector is, without the paths of the signals. */
  endpoint: string
  serviceName: string
  intervalMs: number
  /** What the collector asks for, such as a login. */
  headers: Record<string, string>
}

export type TelemetryOptions = {
  settings: TelemetrySettings
  version: string
  scope: RequestScope
  log: Logger
}

export type Telemetry = {
  observer: Partial<Observer>
  /** The trace of a request that begins: its caller's, or a new one. */
  begin(inbound: TraceContext | undefined): TraceContext
  /** Sends what there is a last time. */
  close(deadlineMs: number): Promise<void>
}

const SCOPE = 'opensandbox/control'
const TIMEOUT_MS = 10_000
/** Spans are of use while somebody looks at what has just happened. */
const TRACES_EVERY_MS = 1000
const MAX_WAITING = 4096
const MAX_SPANS_PER_EXPORT = 1024

export function openTelemetry({ settings, version, scope, log }: TelemetryOptions): Telemetry {
  const histograms = { request: new Histogram(), create: new Histogram() }
  const sdks = new SdkLabels()
  const startedAtMs = Date.now()
  const resource = { 'service.name': settings.serviceName, 'service.version': version }
  let waiting: Span[] = []
  let dropped = 0
  const add = (span: Span) => {
    if (waiting.length < MAX_WAITING) waiting.push(span)
    else if (dropped++ === 0) log.warn('spans are dropped: there are more than can be sent')
  }
  const collector = (path: string) => ({
    url: new URL(`${settings.endpoint.replace(/\/+$/, '')}${path}`),
    headers: settings.headers,
    timeoutMs: TIMEOUT_MS,
    log,
  })
  const metrics = runExporter({
    ...collector('/v1/metrics'),
    what: 'metrics',
    intervalMs: settings.intervalMs,
    takeBody: () =>
      formatMetrics({
        scope: SCOPE,
        metrics: [
          { name: 'server.http.request.duration', unit: 'ms', histogram: histograms.request.series },
          { name: 'opensandbox.sandbox.create.duration', unit: 'ms', histogram: histograms.create.series },
        ],
        resource,
        attributes: {},
        startedAtMs,
        nowMs: Date.now(),
      }),
  })
  const traces = runExporter({
    ...collector('/v1/traces'),
    what: 'traces',
    intervalMs: Math.min(TRACES_EVERY_MS, settings.intervalMs),
    takeBody() {
      if (waiting.length === 0) return undefined
      const spans = waiting.slice(0, MAX_SPANS_PER_EXPORT)
      waiting = waiting.slice(MAX_SPANS_PER_EXPORT)
      dropped = 0
      return formatTraces({ spans, scope: SCOPE, resource })
    },
  })

  /** A span below the request that this belongs to, if it is one that is traced. */
  const addInner = (name: string, { beganAt, ms }: { beganAt: number; ms: number }, isFailed: boolean) => {
    const trace = scope.current()?.trace
    if (!trace?.isSampled) return
    add({
      traceId: trace.traceId,
      spanId: newSpanId(),
      parentSpanId: trace.spanId,
      name,
      kind: 'internal',
      startMs: beganAt,
      endMs: beganAt + ms,
      attributes: {},
      isFailed,
    })
  }
  return {
    begin: (inbound) => ({
      traceId: inbound?.traceId ?? randomBytes(16).toString('hex'),
      spanId: newSpanId(),
      isSampled: inbound?.isSampled ?? true,
      ...(inbound?.state !== undefined && { state: inbound.state }),
    }),
    observer: {
      requestDone({ method, route, status, beganAt, ms, scoped, parentSpanId }) {
        const attributes = { http_method: method, http_route: route, http_status_code: status }
        histograms.request.record(ms, attributes)
        const { trace, requestId } = scoped
        if (!trace?.isSampled) return
        add({
          traceId: trace.traceId,
          spanId: trace.spanId,
          ...(parentSpanId !== undefined && { parentSpanId }),
          name: `${method} ${route}`,
          kind: 'server',
          startMs: beganAt,
          endMs: beganAt + ms,
          attributes: {
            'http.request.method': method,
            'http.route': route,
            'http.response.status_code': status,
            'opensandbox.request_id': requestId,
          },
          isFailed: status >= 500,
        })
      },
      runtimeCallDone: (done) => addInner(`runtime ${done.call}`, done, done.failure !== undefined),
      createPhaseDone: (done) => addInner(`create: ${done.phase}`, done, done.isFailed),
      createReported({ success, ms, ...sdk }) {
        const { language, version } = sdks.of(sdk)
        histograms.create.record(ms, { 'sdk.language': language, 'sdk.version': version, success })
      },
    },
    close: async (deadlineMs) => {
      await Promise.all([metrics.close(deadlineMs), traces.close(deadlineMs)])
    },
  }
}

function newSpanId(): string {
  return randomBytes(8).toString('hex')
}

// Everything by which somebody can see what happens here, put together: numbers for Prometheus, OpenTelemetry when it is
// configured, whether this server is ready, and which request a line of the log belongs to.

import type { Logger } from '../../lib/log.ts'
import type { Runtime } from '../runtime/runtime.ts'
import type { Database } from '../store/database.ts'
import { countPools, countSandboxes, sizeOf } from '../store/figures.ts'
import { createDatabaseCheck } from './database-check.ts'
import { createObserverOf, type Observer } from './observer.ts'
import { createPassWatch } from './pass-watch.ts'
import { createMetrics, type Metrics } from './prometheus.ts'
import { type Check, createReadiness, type Readiness } from './readiness.ts'
import type { RequestScope } from './request-scope.ts'
import type { Telemetry } from './telemetry.ts'
import type { TraceContext } from './trace-context.ts'

export type Observation = {
  scope: RequestScope
  observer: Observer
  metrics: Pick<Metrics, 'format'>
  readiness: Readiness
  /** The trace that a request belongs to, when there is one. */
  beginTrace(inbound: TraceContext | undefined): TraceContext | undefined
  close(): Promise<void>
}

export type ObservationOptions = {
  database: Database
  runtime: Runtime
  /** Present when there is an egress: rejects when it does not answer. */
  checkEgress?: Check
  scope: RequestScope
  version: string
  log: Logger
  /** Present when OpenTelemetry is configured; see telemetry.ts. */
  telemetry?: Telemetry
}

/** What is sent a last time at the stop has so long. */
const LAST_EXPORT_MS = 2000
/** No sandbox has this id: it is no id. A runtime that can say so can be asked. */
const NO_SANDBOX = 'readiness-probe'

export function openObservation(options: ObservationOptions): Observation {
  const { database, runtime, scope, version, log, telemetry } = options
  const stopped = new AbortController()
  const metrics = createMetrics(
    {
      sandboxes: () => countSandboxes(database),
      pools: () => countPools(database),
      databaseBytes: () => sizeOf(database),
    },
    version,
    stopped.signal,
  )
  const passes = createPassWatch()
  const readiness = createReadiness({
    log,
    checks: {
      database: createDatabaseCheck(database),
      runtime: async (signal) => void (await runtime.inspect(NO_SANDBOX, signal)),
      ...(options.checkEgress && { egress: options.checkEgress }),
      reconciler: passes.check,
    },
  })
  return {
    scope,
    observer: createObserverOf([
      metrics.observer,
      passes.observer,
      ...(telemetry ? [telemetry.observer] : []),
    ]),
    metrics,
    readiness,
    beginTrace: (inbound) => (telemetry ? telemetry.begin(inbound) : inbound),
    async close() {
      stopped.abort()
      await telemetry?.close(LAST_EXPORT_MS)
    },
  }
}

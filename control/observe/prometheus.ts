// The numbers of this process as Prometheus reads them. What happens is counted here as it is told; how much there is, is
// looked up when somebody asks. Each label has a bounded number of values: no ids, no paths, nothing that a caller names but
// pools, and of those only so many.

import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { SANDBOX_STATES, type SandboxState } from '../../lib/api/lifecycle.ts'
import type { PoolFigures } from '../store/figures.ts'
import { watchLoopDelay } from './loop-delay.ts'
import type { Observer } from './observer.ts'
import { addProcessMetrics } from './process-metrics.ts'

/** What is looked up when it is asked for. */
export type Figures = {
  sandboxes(): ReadonlyMap<SandboxState, number>
  pools(): PoolFigures[]
  databaseBytes(): { main: number; log: number }
}

export type Metrics = {
  observer: Partial<Observer>
  /** The whole as text. */
  format(): Promise<{ contentType: string; text: string }>
}

const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const CREATE_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const PASS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30]
const DELAY_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5]
/** Pools are named by their users; those beyond are one. */
const MAX_POOLS = 100
const OTHERS = '(others)'
/** Creates as clients see them: from the request to its answer. */
const CREATE_ROUTE = /^(\/v1)?\/sandboxes$/

export function createMetrics(figures: Figures, version: string, signal: AbortSignal): Metrics {
  const registry = new Registry()
  const registers = [registry]
  new Gauge({
    name: 'opensandbox_build_info',
    help: 'Always 1; the version is the label.',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1)
  const observer = createCounters(registers, signal)
  const read = createReader(registers)
  // Two families tell of the pools, which are looked up once.
  let pools: PoolFigures[] = []
  addFigures(registers, {
    sandboxes: () => read(figures.sandboxes),
    pools: () => pools,
    databaseBytes: () => read(figures.databaseBytes),
  })
  addProcessMetrics(registers)
  return {
    observer,
    async format() {
      pools = read(figures.pools) ?? []
      return { contentType: registry.contentType, text: await registry.metrics() }
    },
  }
}

function createCounters(registers: Registry[], signal: AbortSignal): Partial<Observer> {
  const inFlight = new Gauge({
    name: 'opensandbox_http_requests_in_flight',
    help: 'Requests whose answer has not begun yet.',
    registers,
  })
  const requests = new Histogram({
    name: 'opensandbox_http_request_duration_seconds',
    help: 'Time until the answer began, by the pattern of the route.',
    labelNames: ['method', 'route', 'status'],
    buckets: REQUEST_SECONDS,
    registers,
  })
  const creates = new Histogram({
    name: 'opensandbox_sandbox_create_duration_seconds',
    help: 'Time of creates: "request" as clients see it, "claim" of a pool, the other phases inside of the runtime.',
    labelNames: ['phase', 'outcome'],
    buckets: CREATE_SECONDS,
    registers,
  })
  const calls = new Histogram({
    name: 'opensandbox_runtime_call_duration_seconds',
    help: 'Time of calls of the runtime.',
    labelNames: ['call'],
    buckets: CREATE_SECONDS,
    registers,
  })
  const failures = new Counter({
    name: 'opensandbox_runtime_call_failures_total',
    help: 'Calls of the runtime that failed, by why.',
    labelNames: ['call', 'reason'],
    registers,
  })
  const passes = new Histogram({
    name: 'opensandbox_reconcile_pass_duration_seconds',
    help: 'Time of looks over all sandboxes, in which rows and runtime are made to agree.',
    labelNames: ['outcome'],
    buckets: PASS_SECONDS,
    registers,
  })
  const reconciled = new Counter({
    name: 'opensandbox_reconciled_sandboxes_total',
    help: 'Sandboxes that were looked at closer because something differed, by what came of it.',
    labelNames: ['outcome'],
    registers,
  })
  const lastPass = new Gauge({
    name: 'opensandbox_reconcile_last_success_timestamp_seconds',
    help: 'When the last look over all sandboxes ended well.',
    registers,
  })
  const delay = new Histogram({
    name: 'opensandbox_event_loop_delay_seconds',
    help: 'How late the event loop ran a timer that is due every 50 milliseconds.',
    buckets: DELAY_SECONDS,
    registers,
  })
  watchLoopDelay((ms) => delay.observe(ms / 1000), signal)
  return {
    requestBegins: () => inFlight.inc(),
    requestDone({ method, route, status, ms }) {
      inFlight.dec()
      requests.observe({ method, route, status }, ms / 1000)
      if (method === 'POST' && CREATE_ROUTE.test(route))
        creates.observe({ phase: 'request', outcome: outcomeOf(status) }, ms / 1000)
    },
    runtimeCallDone({ call, ms, failure }) {
      calls.observe({ call }, ms / 1000)
      if (failure !== undefined) failures.inc({ call, reason: failure })
    },
    createPhaseDone: ({ phase, ms, isFailed }) =>
      creates.observe({ phase, outcome: isFailed ? 'failure' : 'success' }, ms / 1000),
    passDone({ ms, isFailed, outcomes }) {
      passes.observe({ outcome: isFailed ? 'failure' : 'success' }, ms / 1000)
      if (!isFailed) lastPass.setToCurrentTime()
      for (const [outcome, count] of Object.entries(outcomes)) reconciled.inc({ outcome }, count)
    },
  }
}

function outcomeOf(status: number): string {
  if (status < 400) return 'success'
  return status < 500 ? 'refused' : 'failure'
}

/** Reads what may fail just when all other numbers are wanted most. */
function createReader(registers: Registry[]): <T>(look: () => T) => T | undefined {
  const failures = new Counter({
    name: 'opensandbox_figures_failures_total',
    help: 'Numbers that are missing from an answer as the database could not be read.',
    registers,
  })
  return (look) => {
    try {
      return look()
    } catch {
      failures.inc() // why, tells /ready, which asks the same database
      return undefined
    }
  }
}

function addFigures(
  registers: Registry[],
  figures: { [Name in keyof Figures]: () => ReturnType<Figures[Name]> | undefined },
): void {
  new Gauge({
    name: 'opensandbox_sandboxes',
    help: 'Sandboxes by state, warm ones of pools too.',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset()
      const counted = figures.sandboxes()
      if (!counted) return
      for (const state of SANDBOX_STATES) this.set({ state }, counted.get(state) ?? 0)
    },
  })
  new Gauge({
    name: 'opensandbox_pool_sandboxes',
    help: 'Sandboxes of pools: ready to be claimed, being made, claimed.',
    labelNames: ['tenant', 'pool', 'status'],
    registers,
    collect() {
      this.reset()
      for (const [labels, { warm, filling, claimed }] of labelled(figures.pools() ?? []))
        for (const [status, count] of Object.entries({ warm, filling, claimed }))
          this.inc({ ...labels, status }, count)
    },
  })
  new Gauge({
    name: 'opensandbox_pool_capacity',
    help: 'How many sandboxes a pool is to keep warm and may have in all.',
    labelNames: ['tenant', 'pool', 'bound'],
    registers,
    collect() {
      this.reset()
      for (const [labels, { capacity }] of labelled(figures.pools() ?? []))
        for (const [bound, count] of Object.entries(capacity)) this.inc({ ...labels, bound }, count)
    },
  })
  new Gauge({
    name: 'opensandbox_database_bytes',
    help: 'Size of the database, and of its log of changes.',
    labelNames: ['file'],
    registers,
    collect() {
      this.reset()
      for (const [file, bytes] of Object.entries(figures.databaseBytes() ?? {})) this.set({ file }, bytes)
    },
  })
}

/** The first pools by their names, of each tenant in turn so that none takes all the labels there are, and all others as one. */
function labelled(pools: PoolFigures[]): [{ tenant: string; pool: string }, PoolFigures][] {
  const places = new Map<string, number>()
  const inTurn = pools
    .map((pool) => {
      const place = places.get(pool.tenant) ?? 0
      places.set(pool.tenant, place + 1)
      return { pool, place }
    })
    .sort((one, other) => one.place - other.place)
  return inTurn.map(({ pool }, at) => [
    at < MAX_POOLS ? { tenant: pool.tenant, pool: pool.name } : { tenant: OTHERS, pool: OTHERS },
    pool,
  ])
}

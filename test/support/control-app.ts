// The lifecycle API over a fake runtime, in this process and without a port.

import { fileURLToPath } from 'node:url'
import type { Hono } from 'hono'
import { type AccessSettings, openAccess } from '../../control/access/access.ts'
import { createApp } from '../../control/app.ts'
import type { AppDeps, AppEnv, AppSettings } from '../../control/app-deps.ts'
import type { ExecdClient } from '../../control/execd-client.ts'
import type { KeepLimits } from '../../control/image/collect.ts'
import { ImageKeeper } from '../../control/image/keeper.ts'
import { observeRuntime } from '../../control/observe/observe-runtime.ts'
import { type Observation, openObservation } from '../../control/observe/open-observation.ts'
import type { Check } from '../../control/observe/readiness.ts'
import { createRequestScope, createScopedLogger } from '../../control/observe/request-scope.ts'
import { openTelemetry, type TelemetrySettings } from '../../control/observe/telemetry.ts'
import { openPooling, type Pooling } from '../../control/pools/open-pooling.ts'
import type { Runtime } from '../../control/runtime/runtime.ts'
import { Activity } from '../../control/sandbox/activity.ts'
import { runDeadlines } from '../../control/sandbox/deadlines.ts'
import { Doubts } from '../../control/sandbox/doubts.ts'
import type { LifeSettings, Lives } from '../../control/sandbox/lives.ts'
import { OnceKeys } from '../../control/sandbox/once.ts'
import { PullProgress } from '../../control/sandbox/pull-progress.ts'
import { runReconciler } from '../../control/sandbox/reconcile.ts'
import { runVolumes } from '../../control/sandbox/run-volumes.ts'
import { Turns } from '../../control/sandbox/turns.ts'
import { Store } from '../../control/store/sqlite.ts'
import { createSilentLogger, type Logger } from '../../lib/log.ts'
import { createFakeRuntime, type FakeRuntime } from './fake-runtime.ts'

export const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url))

export const LIFE_SETTINGS: LifeSettings = {
  allowedHostPaths: [],
  allowIsolatedSessions: false,
  stopGraceMs: 0,
  createTimeoutMs: 20_000,
  createAnswerMs: 10_000,
  deleteAnswerMs: 10_000,
  pauseTimeoutMs: 5000,
  maxTimeoutMs: Number.POSITIVE_INFINITY,
  idempotencyMs: 3_600_000,
}

export type ControlAppOptions = {
  settings?: Partial<AppSettings>
  access?: AccessSettings
  life?: Partial<LifeSettings>
  imageLimits?: KeepLimits
  runtime?: FakeRuntime
  /** In the place of the fake one. */
  otherRuntime?: Runtime
  store?: Store
  askEgress?: AppDeps['askEgress']
  openEgressStream?: AppDeps['openEgressStream']
  formatEgressMetrics?: AppDeps['formatEgressMetrics']
  checkEgress?: Check
  gateways?: AppDeps['gateways']
  execd?: Partial<ExecdClient>
  telemetry?: TelemetrySettings
  /** Whether pools are filled and templates built. */
  runsPooling?: boolean
  /** How long a create waits for a pool. */
  poolWaitMs?: number
  /** How long the probe of a template has. */
  probeMs?: number
  now?: () => number
  log?: Logger
  trustForwarded?: boolean
  files?: Lives['files']
}

export type ControlApp = {
  app: Hono<AppEnv>
  lives: Lives
  runtime: FakeRuntime
  store: Store
  pooling: Pooling
  observation: Observation
  /** Does what goes on by itself in the program: passes, deadlines, pools, templates. Resolves once all of it has ended. */
  runLoops: () => Promise<unknown>
  /** Ends what the app started. */
  close: () => Promise<void>
  /** Calls the app with a JSON body, and reads a JSON answer. */
  call: (
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
    signal?: AbortSignal,
  ) => Promise<Answer>
}

export type Answer = { status: number; headers: Headers; text: string; body: Record<string, unknown> }

export function createControlApp(options: ControlAppOptions = {}): ControlApp {
  const runtime = options.runtime ?? createFakeRuntime()
  const store = options.store ?? new Store({ path: ':memory:', migrationsDir: MIGRATIONS })
  const stopped = new AbortController()
  const scope = createRequestScope()
  const log = createScopedLogger(options.log ?? createSilentLogger(), scope)
  const now = options.now ?? Date.now
  const access = openAccess(store.database, options.access ?? {}, now)
  const version = '9.9.9'
  const observation = openObservation({
    database: store.database,
    runtime: options.otherRuntime ?? runtime,
    ...(options.checkEgress && { checkEgress: options.checkEgress }),
    scope,
    version,
    log,
    ...(options.telemetry && {
      telemetry: openTelemetry({ settings: options.telemetry, version, scope, log }),
    }),
  })
  const lives: Lives = {
    store,
    runtime: observeRuntime(options.otherRuntime ?? runtime, observation.observer),
    quotas: access.quotas,
    turns: new Turns(),
    doubts: new Doubts(),
    activity: new Activity({ store, now, settings: { ...LIFE_SETTINGS, ...options.life }, log }),
    creating: new Map(),
    progress: new PullProgress(),
    log,
    observer: observation.observer,
    now,
    files: options.files ?? { realPath: async (path) => path, makeDirectory: async () => {} },
    settings: { ...LIFE_SETTINGS, ...options.life },
    signal: stopped.signal,
  }
  const settings = { domain: 'localhost', arch: 'amd64', version, ...options.settings }
  const absent = (what: string) => () => {
    throw new Error(`no ${what} in this test`)
  }
  const askEgress = options.askEgress ?? absent('egress')
  const execd = { ping: absent('execd'), run: absent('execd'), accepts: absent('execd'), ...options.execd }
  const { poolWaitMs, probeMs } = options
  const pooling = openPooling({
    lives,
    settings,
    execd,
    askEgress,
    ...(poolWaitMs !== undefined && { poolWaitMs }),
    ...(probeMs !== undefined && { probeMs }),
  })
  const loops = options.runsPooling
    ? [pooling.keeper.run(), pooling.builder.run(), pooling.snapshotKeeper.run()]
    : []
  const images =
    runtime.images &&
    new ImageKeeper({
      images: runtime.images,
      limits: options.imageLimits ?? {},
      pullTimeoutMs: 20_000,
      now,
      log,
      signal: stopped.signal,
    })
  const app = createApp({
    lives,
    access,
    pooling,
    once: new OnceKeys(),
    log,
    settings,
    observation,
    ...(options.gateways && { gateways: options.gateways }),
    ...(options.openEgressStream && { openEgressStream: options.openEgressStream }),
    ...(options.formatEgressMetrics && { formatEgressMetrics: options.formatEgressMetrics }),
    ...(images && { images }),
    askEgress,
    trustForwarded: options.trustForwarded ?? false,
  })
  return {
    app,
    lives,
    runtime,
    store,
    pooling,
    observation,
    runLoops() {
      const running = [
        runReconciler(lives),
        runDeadlines(lives),
        runVolumes(lives),
        pooling.keeper.run(),
        pooling.builder.run(),
        pooling.snapshotKeeper.run(),
      ]
      loops.push(...running)
      return Promise.all(running)
    },
    async close() {
      stopped.abort(new Error('The test is over'))
      await Promise.all(loops)
      await lives.turns.idle()
      await observation.close()
      store.close()
    },
    async call(method, path, body, headers = {}, signal) {
      const response = await app.request(`http://localhost${path}`, {
        method,
        ...(signal && { signal }),
        headers: {
          host: 'localhost:8080',
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      const text = await response.text()
      const isJson = response.headers.get('content-type')?.includes('json') && text !== ''
      return {
        status: response.status,
        headers: response.headers,
        text,
        body: isJson ? (JSON.parse(text) as Record<string, unknown>) : {},
      }
    },
  }
}

/** The smallest body that create takes. */
export const MINIMAL = { image: { uri: 'debian' }, entrypoint: ['sleep', '1000'], resourceLimits: {} }

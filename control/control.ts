// Control put together: rows, runtime, feed, API, and the loops that keep them in agreement. main.ts opens what is outside
// and hands it in; a test hands in a runtime of its own.

import { realpath } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { dirname, join } from 'node:path'
import { API_KEY_HEADER, hashKey } from '../lib/access.ts'
import { messageOf } from '../lib/errors.ts'
import { parseRanges } from '../lib/hops.ts'
import { createToken } from '../lib/id.ts'
import type { Instance } from '../lib/instance.ts'
import type { Logger } from '../lib/log.ts'
import { openRenewQueue } from '../lib/renew-queue.ts'
import { type ListenAddress, type Serving, serve } from '../lib/serve.ts'
import { type Access, type AccessSettings, openAccess } from './access/access.ts'
import { checkLocalCaller } from './access/local-caller.ts'
import { type GivenKey, requireKeyFor } from './access/require-key.ts'
import { createApp, hostsOf } from './app.ts'
import type { AppSettings } from './app-deps.ts'
import { settlesWithin } from './async.ts'
import { Clock } from './clock.ts'
import type { EgressAnswer, EgressRequest, EgressStream } from './egress-client.ts'
import { createExecdClient } from './execd-client.ts'
import { createFeedApp } from './feed-app.ts'
import { createGateways } from './gateways.ts'
import type { KeepLimits } from './image/collect.ts'
import { ImageKeeper } from './image/keeper.ts'
import { observeRuntime } from './observe/observe-runtime.ts'
import { openObservation } from './observe/open-observation.ts'
import type { Check } from './observe/readiness.ts'
import { createRequestScope, type RequestScope } from './observe/request-scope.ts'
import type { TelemetrySettings } from './observe/telemetry.ts'
import { openPooling } from './pools/open-pooling.ts'
import { runRenewIntents } from './renew-intents.ts'
import { createSandboxProxy, sandboxIdOf } from './routes/proxy.ts'
import { ProxyTraffic } from './routes/proxy-traffic.ts'
import { RoutesFeed } from './routes-feed.ts'
import { makeDirectory } from './runtime/held-path.ts'
import type { Runtime } from './runtime/runtime.ts'
import { Activity } from './sandbox/activity.ts'
import { runDeadlines } from './sandbox/deadlines.ts'
import { Doubts } from './sandbox/doubts.ts'
import { requireDefaultDisk } from './sandbox/limits.ts'
import type { LifeSettings, Lives } from './sandbox/lives.ts'
import { moveDeadlines } from './sandbox/move-deadlines.ts'
import { OnceKeys } from './sandbox/once.ts'
import { PullProgress } from './sandbox/pull-progress.ts'
import { reconcile, runReconciler } from './sandbox/reconcile.ts'
import { removeAll } from './sandbox/remove-all.ts'
import { runVolumes } from './sandbox/run-volumes.ts'
import { Turns } from './sandbox/turns.ts'
import { wakeSandbox } from './sandbox/wake-on-request.ts'
import { Checkpointer } from './store/checkpointer.ts'
import { Store } from './store/sqlite.ts'
import { type Retention, runUpkeep } from './upkeep/upkeep.ts'

export type ControlOptions = {
  instance: Pick<Instance, 'controlSocket' | 'feedSocket' | 'policySocket'>
  dataDir: string
  migrationsDir: string
  runtime: Runtime
  askEgress: (request: EgressRequest) => Promise<EgressAnswer>
  openEgressStream?: (request: EgressRequest) => Promise<EgressStream>
  formatEgressMetrics?: () => Promise<string>
  /** Rejects when egress does not answer. */
  checkEgress?: Check
  settings: AppSettings
  accessSettings: AccessSettings
  lifeSettings: LifeSettings
  /** How long is kept what nothing needs any more; for ever when absent. */
  retention?: Retention
  /** How much of it each tenant may have; see upkeep/upkeep.ts. */
  maxBytesOfTenant?: number
  /** Which images stay that nobody needs; all when absent. */
  imageLimits?: KeepLimits
  /** Also serve the API here, sandbox traffic included: for when no gateway stands in front. */
  listen?: { host: string; port: number }
  /** Proxies before that port, which are believed what they say of the client of a sandbox's traffic. */
  trustedProxies?: string[]
  /** A queue by which others tell of traffic. */
  renewQueue?: { dsn: string; queueKey: string }
  /** Present when OpenTelemetry is configured. */
  telemetry?: TelemetrySettings
  /** By which the lines of `log` know their request. */
  scope?: RequestScope
  log: Logger
  now?: () => number
}

export type Control = {
  /** The TCP port in use, when there is one. */
  port?: number
  /** Takes what a configuration that was read anew says of keys, tenants and quotas. */
  configure: (settings: AccessSettings) => void
  /** Ends in order: no new requests, running ones finished or cancelled, loops ended, the database closed. */
  stop: (options?: { removeSandboxes?: boolean }) => Promise<void>
}

const FIRST_PASS_MS = 10_000
const DRAIN_MS = 5000
/** How soon a jump of the wall clock is noticed when nothing happens. */
const CLOCK_LOOK_MS = 1000

/** Opens the state, makes it agree with the runtime, and serves. */
export async function startControl(options: ControlOptions): Promise<Control> {
  const { instance, dataDir, log, settings, scope = createRequestScope() } = options
  requireDefaultDisk(options.lifeSettings.defaultDiskBytes, options.runtime.abilities?.disk)
  const path = join(dataDir, 'control.db')
  const store = new Store({ path, migrationsDir: options.migrationsDir })
  const checkpointer = new Checkpointer(path)
  const serving = new AbortController()
  const living = new AbortController()
  const clock = new Clock({ wall: options.now ?? Date.now, monotonic: () => performance.now() })
  const { now } = clock
  const access = openAccess(store.database, options.accessSettings, now)
  warnWhenLockedOut(access, log)
  const { version } = settings
  const telemetry =
    options.telemetry &&
    (await import('./observe/telemetry.ts')).openTelemetry({
      settings: options.telemetry,
      version,
      scope,
      log,
    })
  const observation = openObservation({
    database: store.database,
    runtime: options.runtime,
    ...(options.checkEgress && { checkEgress: options.checkEgress }),
    scope,
    version,
    log,
    ...(telemetry && { telemetry }),
  })
  const runtime = observeRuntime(options.runtime, observation.observer)
  const lives: Lives = {
    store,
    runtime,
    quotas: access.quotas,
    turns: new Turns(),
    doubts: new Doubts(),
    activity: new Activity({ store, now, settings: options.lifeSettings, log }),
    creating: new Map(),
    progress: new PullProgress(),
    log,
    observer: observation.observer,
    now,
    files: {
      realPath: (path) => realpath(path),
      makeDirectory: (path) => makeDirectory(path, runtime.rootOwner ?? { uid: 0, gid: 0 }),
    },
    settings: options.lifeSettings,
    signal: living.signal,
  }
  const pooling = openPooling({
    lives,
    settings,
    execd: createExecdClient({ headers: scope.traceHeaders }),
    askEgress: options.askEgress,
  })
  const images =
    runtime.images &&
    new ImageKeeper({
      images: runtime.images,
      limits: options.imageLimits ?? {},
      pullTimeoutMs: options.lifeSettings.createTimeoutMs,
      now,
      log,
      signal: living.signal,
    })
  clock.onJump((byMs) => moveDeadlines(lives, pooling.keeper, byMs))
  // Whoever only reads does not ask for the time.
  const ticking = setInterval(clock.now, CLOCK_LOOK_MS)
  lives.activity.grantGrace()
  const once = new OnceKeys()
  const feed = new RoutesFeed({
    store,
    policySocket: instance.policySocket,
    ...(options.lifeSettings.wake && { wake: options.lifeSettings.wake }),
  })
  const servers: Serving[] = []
  const listen = async (address: ListenAddress, fetch: Parameters<typeof serve>[0]['fetch'], more = {}) => {
    const server = await serve({ fetch, listen: address, signal: serving.signal, drainMs: DRAIN_MS, ...more })
    servers.push(server)
    return server
  }

  // A pass that takes long goes on beside the requests: every sandbox has its turns.
  const firstPass = reconcile(lives)
  firstPass.catch((error) => log.error('the first look at the runtime failed', { error: messageOf(error) }))
  await settlesWithin(firstPass, FIRST_PASS_MS)
  const { renewQueue } = options
  const intentQueue =
    renewQueue && (await openRenewQueue({ dsn: renewQueue.dsn, key: renewQueue.queueKey, log }))
  const loops = [
    intentQueue &&
      runRenewIntents({ queue: intentQueue, activity: lives.activity, now, log, signal: living.signal }),
    runReconciler(lives),
    runDeadlines(lives),
    runVolumes(lives),
    pooling.keeper.run(),
    pooling.builder.run(),
    ...(images ? [images.run()] : []),
    pooling.snapshotKeeper.run(),
    runUpkeep({
      database: store.database,
      ...(options.retention && { retention: options.retention }),
      ...(options.maxBytesOfTenant !== undefined && { maxBytesOfTenant: options.maxBytesOfTenant }),
      checkpointer,
      log,
      now,
      random: Math.random,
      signal: living.signal,
    }),
  ]

  const deps = {
    lives,
    access,
    pooling,
    once,
    settings,
    observation,
    gateways: createGateways({ runDir: dirname(instance.feedSocket), log }),
    log,
    askEgress: options.askEgress,
    ...(options.openEgressStream && { openEgressStream: options.openEgressStream }),
    ...(options.formatEgressMetrics && { formatEgressMetrics: options.formatEgressMetrics }),
    ...(images && { images }),
  }
  const app = createApp({ ...deps, trustForwarded: true })
  let port: number | undefined
  try {
    await listen(
      { socketPath: instance.feedSocket },
      createFeedApp({
        feed,
        activity: lives.activity,
        checkKey: checkTraffic,
        wake: (id) => wakeSandbox(lives, id),
        redeem(id, hash) {
          const secret = createToken()
          return store.shares.redeem({ id, hash }, hashKey(secret), now()) ? secret : undefined
        },
        stopped: serving.signal,
      }).fetch,
    )
    await listen({ socketPath: instance.controlSocket }, (request, env) => app.fetch(request, env ?? {}))
    if (options.listen) {
      const proxy = createSandboxProxy({
        feed,
        log,
        traffic: new ProxyTraffic({ feed, activity: lives.activity }),
        isOpen: () => !access.keyring.isNeeded,
        trusted: parseRanges(options.trustedProxies ?? []),
        async guard({ headers, url }) {
          const { keyring } = access
          if (!keyring.isNeeded) checkLocalCaller(hostsOf(settings), headers.host, headers.origin)
          await checkTraffic(sandboxIdOf(url), { key: keyOf(headers), from: undefined })
        },
      })
      const open = createApp({ ...deps, proxy, trustForwarded: false })
      const server = await listen(options.listen, (request, env) => open.fetch(request, env ?? {}), {
        prepare: proxy.attach,
      })
      port = server.port
    }
  } catch (error) {
    await close()
    throw error
  }

  async function checkTraffic(id: string, given: GivenKey): Promise<void> {
    const { keyring } = access
    if (keyring.guardsTraffic) await requireKeyFor({ keyring, store }, id, given)
  }

  async function close(): Promise<void> {
    serving.abort()
    living.abort(new Error('The server is stopping'))
    intentQueue?.close()
    for (const server of servers) await server.closed
    await Promise.all(loops)
    await lives.turns.idle()
    clearInterval(ticking)
    lives.activity.settleAll()
    lives.activity[Symbol.dispose]()
    await observation.close()
    await runtime
      .close()
      .catch((error) => log.warn('something of the runtime is left on the machine', { error }))
    feed[Symbol.dispose]()
    await checkpointer[Symbol.asyncDispose]()
    store.close()
  }

  return {
    ...(port !== undefined && { port }),
    configure(changed) {
      access.configure(changed)
      warnWhenLockedOut(access, log)
    },
    async stop({ removeSandboxes = false } = {}) {
      serving.abort()
      // From here on no create begins, and those under way end; what they leave in the rows is removed with the rest.
      living.abort(new Error('The server is stopping'))
      if (removeSandboxes) await removeAll(lives)
      await close()
    },
  }
}

/** Nobody can come in, and nobody would be told why. */
function warnWhenLockedOut({ keyring }: Access, log: Logger): void {
  if (keyring.isLockedOut)
    log.warn(
      'no API key opens this server any more: set server.api_key, or auth.allow_no_key and start again',
    )
}

function keyOf(headers: IncomingHttpHeaders): string | undefined {
  const given = headers[API_KEY_HEADER.toLowerCase()]
  return Array.isArray(given) ? given[0] : given
}

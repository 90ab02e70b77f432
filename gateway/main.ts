// The gateway program: reads the configuration, listens, follows control's routes feed, serves until it is stopped.

import { join } from 'node:path'
import type { TlsConfig } from '../lib/config/front.ts'
import { needsKey } from '../lib/config.ts'
import { messageOf, systemCodeOf } from '../lib/errors.ts'
import { parseRanges } from '../lib/hops.ts'
import { gatewaySocketOf, instanceOf } from '../lib/instance.ts'
import { createLogger } from '../lib/log.ts'
import { hasTerminal, loadConfiguration, makeDataDir, readConfiguration, refuse } from '../lib/program.ts'
import { createReload } from '../lib/reload.ts'
import { openRenewQueue } from '../lib/renew-queue.ts'
import { reportReady, stopSignal, untilAborted } from '../lib/stop.ts'
import { createKeyCheck } from './access/key-check.ts'
import { createRedeem } from './access/redeem.ts'
import { accessSettings, describeListenError, HELP, USAGE } from './config.ts'
import { Certificates } from './front/certificates.ts'
import { openSelfSigned } from './front/self-signed.ts'
import { ActivityLog, ActivityReporter } from './life/activity.ts'
import { RenewIntents } from './life/renew-intents.ts'
import { createWaker } from './life/wake.ts'
import { openAccessLog } from './observe/access-log.ts'
import { serveOwnSocket } from './observe/own-socket.ts'
import { RoutesFeed } from './routing/routes-feed.ts'
import { createGateway, type ListenAddress } from './server.ts'

/** How long a request waits for a sandbox that is starting. */
const HOLD_MS = 10_000
/** Control ends a wake at its time, and then says how it went. */
const WAKE_MARGIN_MS = 1000

const sources = { env: process.env, args: process.argv.slice(2), ownFlags: [HELP] }
const { config, warnings, flags, settings } = readConfiguration(sources)
if (flags.has(HELP)) {
  process.stdout.write(USAGE)
  process.exit(0)
}
let { level } = config.log
const log = createLogger({ program: 'gateway', level: () => level })
for (const warning of warnings) log.warn(warning)
const { dataDir, host } = config.server
makeDataDir(dataDir)
const instance = instanceOf(dataDir)
const access = accessSettings(config)
const { accessFile } = config.log
const accessLog = accessFile === undefined ? undefined : openAccessLog({ path: accessFile, log })
// Control tells what of the configuration has changed, for all programs.
const reload = createReload({
  settings,
  load: () => loadConfiguration(sources),
  reloadable: ['log.level', 'server.api_key', 'auth.keys', 'tenants', 'ingress.secure_access'],
  apply: (changed) => {
    level = changed.log.level
    // Never back: control goes on asking for a key, too, and it is control that says whether traffic needs one.
    access.hasApiKey ||= needsKey(changed)
    access.guardsTraffic ||= changed.tenants !== undefined
    access.keys = changed.ingress.secureAccess?.keys
  },
})
const stop = stopSignal(log, {
  hasTerminal: hasTerminal(),
  reload: () => {
    // Whoever moved it away sends the same signal.
    accessLog?.reopen()
    void reload()
  },
})
const routes = new RoutesFeed({ socketPath: instance.feedSocket, log })
const activity = new ActivityLog()
const { renewQueue } = config
const intentQueue =
  renewQueue && (await openRenewQueue({ dsn: renewQueue.dsn, key: renewQueue.queueKey, log }))
const intents = renewQueue && intentQueue && new RenewIntents({ ...renewQueue, queue: intentQueue, log })
const reporter = new ActivityReporter({ activity, socketPath: instance.feedSocket, log })
const { front } = config
const certificates = front.tls && (await loadCertificates(front.tls))
const gateway = createGateway({
  front: {
    trustedProxies: parseRanges(front.trustedProxies),
    proxyProtocol: parseRanges(front.proxyProtocol),
    limits: front.limits,
    ...(certificates && { certificates }),
  },
  access,
  controlSocket: instance.controlSocket,
  checkKey: createKeyCheck({ socketPath: instance.feedSocket, log }),
  routes,
  wake: createWaker({
    socketPath: instance.feedSocket,
    log,
    timeoutMs: config.ingress.wakeTimeoutMs + WAKE_MARGIN_MS,
  }),
  redeem: createRedeem({ socketPath: instance.feedSocket, routes, log }),
  holdMs: Math.max(HOLD_MS, config.ingress.wakeTimeoutMs),
  activity: intents
    ? {
        touch(id, at, port) {
          activity.touch(id, at)
          intents.note(id, port)
        },
        forget: (id) => activity.forget(id),
      }
    : activity,
  ...(accessLog && { accessLog }),
  log,
  logsRequests: () => level === 'debug',
})
const isShared = front.processes > 1
const port = await listen({ ...config.server, isShared })
if (front.tls) await listen({ host, port: front.tls.port, isShared, isSecure: true })
const closeOwnSocket = await serveOwnSocket({
  path: gatewaySocketOf(instance, process.pid),
  figures: gateway.figures,
  connections: gateway.connections,
}).catch((error) => {
  // Sandboxes are reached without it.
  log.warn('control cannot ask for the numbers of this process', { error })
  return () => {}
})
const following = routes.run(stop)
const renewing = certificates?.follow(stop)
const reporting = Promise.all([reporter.run(stop), intents?.run(stop)])
const stopped = untilAborted(stop)
await Promise.race([routes.ready, stopped])
if (!stop.aborted) {
  log.info('ready', { host, port, routes: routes.size })
  reportReady({ port })
}
await stopped
await gateway.close(front.drainMs, front.drainNoticeMs)
await following
await reporting
closeOwnSocket()
intentQueue?.close()
await accessLog?.close()
await renewing
// What was seen until the end.
await reporter.tell()
log.info('stopped')
process.exit(0)

async function listen(address: ListenAddress): Promise<number> {
  try {
    return await gateway.listen(address)
  } catch (error) {
    refuse(describeListenError(systemCodeOf(error), messageOf(error), address))
  }
}

/** Those of the configuration, or one of this installation's own. */
async function loadCertificates({ certificates: files }: TlsConfig): Promise<Certificates> {
  const { domain } = config.ingress
  const options = { domain, now: Date.now, log }
  try {
    if (files.length > 0) return await Certificates.load(files, options)
    const names = [...new Set(['localhost', '*.localhost', domain, `*.${domain}`, '127.0.0.1', '::1'])]
    return Certificates.of(openSelfSigned(join(dataDir, 'tls'), names, Date.now()), options)
  } catch (error) {
    refuse(messageOf(error))
  }
}

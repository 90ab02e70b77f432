// The control program: reads the configuration, takes its data directory, waits for egress, opens the runtime, serves.

import './quick-imports.ts'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Config, isLoopback, needsKey } from '../lib/config.ts'
import { messageOf } from '../lib/errors.ts'
import { instanceOf, makeRunDir } from '../lib/instance.ts'
import { createLineWriter } from '../lib/line-writer.ts'
import { openLock } from '../lib/lock.ts'
import { createLogger } from '../lib/log.ts'
import {
  hasTerminal,
  loadConfiguration,
  makeDataDir,
  orRefuse,
  readConfiguration,
  refuse,
} from '../lib/program.ts'
import { createReload } from '../lib/reload.ts'
import { reportReady, stopSignal, untilAborted } from '../lib/stop.ts'
import type { TenantKeys } from './access/tenants/tenants.ts'
import {
  accessSettings,
  appSettings,
  HELP,
  imageLimits,
  lifeSettings,
  pickProxies,
  retention,
  STOP_SANDBOXES,
  takeListen,
  telemetrySettings,
  USAGE,
} from './config.ts'
import type { Control } from './control.ts'
import { createEgressClient } from './egress-client.ts'
import { goFirst } from './go-first.ts'
import { createRequestScope, createScopedLogger } from './observe/request-scope.ts'

const EGRESS_TIMEOUT_MS = 20_000
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')

const { args, listen } = orRefuse(() => takeListen(process.argv.slice(2)))
const sources = { env: process.env, args, ownFlags: [STOP_SANDBOXES, HELP] }
const { config, warnings, flags, settings } = readConfiguration(sources)
if (flags.has(HELP)) {
  process.stdout.write(USAGE)
  process.exit(0)
}
if (listen && !isLoopback(listen.host) && !needsKey(config))
  refuse(
    `Cannot listen on "${listen.host}" without an API key: set OPENSANDBOX_SERVER_API_KEY, or listen on 127.0.0.1`,
  )

const scope = createRequestScope()
let { level } = config.log
const lines = createLineWriter((text) => void process.stderr.write(text))
process.on('exit', lines.flush)
const log = createScopedLogger(
  createLogger({ program: 'control', level: () => level, write: lines.write }),
  scope,
)
for (const warning of warnings) log.warn(warning)
const { dataDir } = config.server
makeDataDir(dataDir)
const lock = openLock(join(dataDir, 'control.lock'))
if (!lock)
  refuse(`Another control program already runs with the data directory "${dataDir}": stop that one first`)
const instance = instanceOf(dataDir)
makeRunDir(instance)

// There is something to reload once control serves; whoever asks before is answered then.
let reload: (() => Promise<void>) | undefined
let isReloadDue = false
const stop = stopSignal(log, {
  hasTerminal: hasTerminal(),
  reload: () => {
    if (reload) void reload()
    else isReloadDue = true
  },
})
const runtimeLife = new AbortController()
let control: Control
let tenants: TenantKeys | undefined
let { ruleSets } = config.egress
try {
  // Most of the program is behind these two: who asks for help or has a wrong configuration does not wait for it.
  const [{ startControl }, { openRuntime }] = await Promise.all([
    import('./control.ts'),
    import('./runtime/open-runtime.ts'),
  ])
  tenants = await tenantsOf(config)
  const egress = createEgressClient(instance)
  await egress.waitUntilReady(EGRESS_TIMEOUT_MS, stop)
  await goFirst(log)
  const runtime = await openRuntime({
    config,
    instance,
    dataDir,
    egress,
    proxyEnvironment: pickProxies(process.env),
    log,
    signal: runtimeLife.signal,
  })
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  control = await startControl({
    instance,
    dataDir,
    migrationsDir: join(ROOT, 'migrations'),
    runtime,
    askEgress: egress.askPolicy,
    openEgressStream: egress.openPolicyStream,
    formatEgressMetrics: egress.formatMetrics,
    checkEgress: egress.check,
    settings: {
      ...appSettings(config, { version, machine: process.arch }),
      ruleSets: () => ruleSets,
    },
    accessSettings: accessSettings(config, tenants),
    lifeSettings: lifeSettings(config),
    retention: retention(config),
    imageLimits: imageLimits(config),
    maxBytesOfTenant: config.retention.maxMbOfTenant * 1024 * 1024,
    ...(listen && { listen }),
    trustedProxies: config.front.trustedProxies,
    ...(config.renewQueue && { renewQueue: config.renewQueue }),
    ...(config.otel && { telemetry: telemetrySettings(config.otel) }),
    scope,
    log,
  })
} catch (error) {
  if (stop.aborted) process.exit(0)
  refuse(`Cannot start control: ${messageOf(error)}`)
}
log.info('ready', {
  dataDir,
  socket: instance.controlSocket,
  ...(control.port !== undefined && { port: control.port }),
})
reportReady(control.port === undefined ? {} : { port: control.port })

reload = createReload({
  settings,
  load: () => loadConfiguration(sources),
  reloadable: [
    'log.level',
    'server.api_key',
    'auth.keys',
    'quotas',
    'tenants',
    'ingress.secure_access',
    'egress.rule_sets',
  ],
  elsewhere: ['egress.default_action', 'egress.always_deny', 'egress.always_allow'],
  async apply(changed, names) {
    const before = tenants
    if (names.some((name) => name.startsWith('tenants.'))) tenants = await tenantsOf(changed)
    control.configure(accessSettings(changed, tenants))
    level = changed.log.level
    ruleSets = changed.egress.ruleSets
    if (before !== tenants) await before?.close()
  },
  log,
})
if (isReloadDue) void reload()

await untilAborted(stop)
await control.stop({ removeSandboxes: flags.has(STOP_SANDBOXES) })
await tenants?.close()
runtimeLife.abort()
lock[Symbol.dispose]()
log.info('stopped')
process.exit(0)

async function tenantsOf({ tenants: from }: Config): Promise<TenantKeys | undefined> {
  if (!from) return undefined
  const { openTenants } = await import('./access/tenants/open-tenants.ts')
  return openTenants(from, log)
}

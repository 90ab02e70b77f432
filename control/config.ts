// What control takes from the common configuration, in the units that it works with, and its own flags.

import { takeFlag } from '../lib/config/read-flags.ts'
import { type Config, ConfigError } from '../lib/config.ts'
import type { AccessSettings } from './access/access.ts'
import type { TenantKeys } from './access/tenants/tenants.ts'
import type { AppSettings } from './app-deps.ts'
import type { KeepLimits } from './image/collect.ts'
import type { TelemetrySettings } from './observe/telemetry.ts'
import type { LifeSettings } from './sandbox/lives.ts'
import type { Retention } from './upkeep/upkeep.ts'

export const STOP_SANDBOXES = '--stop-sandboxes'
export const HELP = '--help'

export const USAGE = `Usage: npm run control -- [flags]

Serves the lifecycle API on a Unix socket for the gateway, and on TCP with --listen.

  --config PATH        the configuration, ~/.sandbox.toml by default
  --data-dir PATH      where the state lies
  --runtime NAME       local or docker
  --listen HOST:PORT   also serve the API here, without a gateway
  --stop-sandboxes     remove all sandboxes when stopping
  --help               this text
`

/** Takes `--listen HOST:PORT` out of the arguments; the common configuration does not know it. Throws ConfigError. */
export function takeListen(args: string[]): {
  args: string[]
  listen?: { host: string; port: number }
} {
  const { rest, isGiven, value = '' } = takeFlag(args, '--listen')
  if (!isGiven) return { args }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value)
  const port = Number(match?.[3])
  if (!match || port > 65535)
    throw new ConfigError([`Flag --listen must be HOST:PORT such as "127.0.0.1:8080", but it is "${value}"`])
  return { args: rest, listen: { host: match[1] ?? match[2] ?? '', port } }
}

const PROXY_VARIABLES = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy']

/** The variables that name proxies. */
export function pickProxies(env: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    PROXY_VARIABLES.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  )
}

const HOUR_MS = 3_600_000

/** How sandboxes are made and ended here. */
export function lifeSettings({
  server,
  runtime,
  storage,
  retention,
  ingress,
  renewIntent,
}: Config): LifeSettings {
  return {
    allowedHostPaths: storage.allowedHostPaths,
    allowIsolatedSessions: runtime.allowIsolatedSessions,
    ...(runtime.defaultDiskBytes !== undefined && { defaultDiskBytes: runtime.defaultDiskBytes }),
    pullPolicy: runtime.imagePullPolicy,
    stopGraceMs: runtime.stopGraceSeconds * 1000,
    // The image first, then at most as long as a client waits for an answer.
    createTimeoutMs: runtime.pullTimeoutSeconds * 1000 + 25_000,
    createAnswerMs: 20_000,
    deleteAnswerMs: 20_000,
    pauseTimeoutMs: 20_000,
    maxTimeoutMs: (server.maxSandboxTimeoutSeconds ?? Number.POSITIVE_INFINITY) * 1000,
    renewsOnAccess: renewIntent.enabled,
    ...(renewIntent.minIntervalSeconds !== undefined && {
      renewIntervalMs: renewIntent.minIntervalSeconds * 1000,
    }),
    idempotencyMs: retention.idempotencyHours * HOUR_MS,
    wake: ingress.wake,
    wakeTimeoutMs: ingress.wakeTimeoutMs,
  }
}

/** What the API answers from. `machine` is Node's name of this machine's architecture. */
export function appSettings(
  { server, ingress, front, metrics }: Config,
  { version, machine }: { version: string; machine: string },
): AppSettings {
  return {
    ...(server.eip !== undefined && { eip: server.eip }),
    ...(server.maxSandboxTimeoutSeconds !== undefined && {
      maxTimeoutSeconds: server.maxSandboxTimeoutSeconds,
    }),
    corsOrigins: server.corsOrigins,
    domain: ingress.domain,
    customDomains: front.customDomains,
    ...(ingress.gateway && { gateway: ingress.gateway }),
    arch: machine === 'x64' ? 'amd64' : machine,
    version,
    ...(metrics.token !== undefined && { metricsToken: metrics.token }),
  }
}

/** Who may do what. */
export function accessSettings(
  { server, auth, quotas, ingress }: Config,
  tenants?: TenantKeys,
): AccessSettings {
  return {
    ...(server.apiKey !== undefined && { apiKey: server.apiKey }),
    keys: auth.keys,
    allowNoKey: auth.allowNoKey,
    ...(tenants && { tenants }),
    ...(ingress.secureAccess && { signing: ingress.secureAccess }),
    quotas: { default: quotas.default, tenants: Object.fromEntries(quotas.tenants) },
    requestsPerMinute: quotas.requestsPerMinute,
  }
}

/** How long is kept what nothing needs any more. */
export function retention({ retention: kept }: Config): Retention {
  return {
    events: kept.eventsHours * HOUR_MS,
    endedSandboxes: kept.endedSandboxesHours * HOUR_MS,
    audit: kept.auditHours * HOUR_MS,
    idempotency: kept.idempotencyHours * HOUR_MS,
  }
}

/** Which images stay that nobody needs. */
export function imageLimits({ runtime }: Config): KeepLimits {
  const { imageMaxAgeHours, imageMaxBytes } = runtime
  return {
    ...(imageMaxAgeHours !== undefined && { maxAgeMs: imageMaxAgeHours * HOUR_MS }),
    ...(imageMaxBytes !== undefined && { maxBytes: imageMaxBytes }),
  }
}

/** Where telemetry goes. */
export function telemetrySettings({
  exportIntervalMs,
  ...otel
}: NonNullable<Config['otel']>): TelemetrySettings {
  return { ...otel, intervalMs: exportIntervalMs }
}

// Judges a create request whose form is already right: what this installation allows, what this runtime can do. Pure, so that
// every refusal is a line in a table of tests. The order of the checks is the contract's (lifecycle.md 2.1).

import type { PullPolicy } from '../../lib/api/images.ts'
import type { CreateRequest, Platform } from '../../lib/api/lifecycle.ts'
import { LIFECYCLE_VARIABLE, type LifecycleHooks } from '../../lib/api/lifecycle-hooks.ts'
import {
  checkNetworkPolicy,
  formatPolicyProblem,
  type KnownSets,
  type NetworkPolicy,
} from '../../lib/api/network-policy.ts'
import { WAKE_MODES, type WakeMode } from '../../lib/wake-mode.ts'
import { LAST_MOMENT } from '../clock.ts'
import { refusal } from '../errors.ts'
import type { Abilities } from '../runtime/runtime.ts'
import type { Limits, Mount } from '../store/schema.ts'
import type { VolumeClaim } from '../store/volumes.ts'
import { parseLimits } from './limits.ts'
import { checkMetadata } from './metadata.ts'
import { PULL_POLICY_EXTENSION, readPullPolicy } from './pull-policy.ts'
import { planVolumes } from './volumes.ts'

export type PlanLimits = {
  maxTimeoutSeconds?: number
  allowedHostPaths: string[]
  allowIsolatedSessions: boolean
  /** Whether the runtime can pause. */
  canPause: boolean
  /** Whether traffic renews anything; it does when nothing is said. */
  renewsOnAccess?: boolean
  /** Whether it has named volumes. */
  hasVolumes: boolean
  /** When registries are asked, by the configuration. */
  pullPolicy?: PullPolicy
  /** What it can limit and give; everything when absent. */
  abilities?: Abilities
  /** What a sandbox may write whose create says nothing of it. */
  defaultDiskBytes?: number
  /** Sets of targets that rules of a policy may name. */
  ruleSets?: KnownSets
  /** `amd64` or `arm64`: what the machine runs. */
  arch: string
  now: number
}

/** Everything that is to be written down about a sandbox that may be made. */
export type CreatePlan = {
  image: { uri: string; auth?: { username: string; password: string } }
  entrypoint: string[]
  env: Record<string, string>
  metadata: Record<string, string>
  /** Those of the caller's own, and those that have an effect here. */
  extensions: Record<string, string>
  platform?: Platform
  limits: Limits
  mounts: Mount[]
  /** Named volumes, when there are any. */
  volumes?: VolumeClaim[]
  networkPolicy?: NetworkPolicy
  /** Whether its requests may be read, so that secrets can be put into them. */
  credentialProxy?: true
  createdAt: number
  expiresAt?: number
  /** Traffic moves the end to so many seconds from then. */
  renewSeconds?: number
  /** It is paused when there was no traffic for so many seconds. */
  idleSeconds?: number
  /** Whether nobody may come in without a token of its own. */
  secureAccess?: true
  /** Whether a request wakes it when it is paused, where the create says so. */
  wake?: WakeMode
  /** What was accepted and has no effect here, in words for the caller. */
  warnings: string[]
}

/** Asks for a sandbox that can make namespaces of its own (contract: v1.1.md 1.3). */
export const ISOLATION_EXTENSION = 'bootstrap.execd.isolation'
/** What a sandbox runs when nobody said: nothing, for ever. */
export const IDLE_ENTRYPOINT = ['tail', '-f', '/dev/null']
/** Opts in to being renewed by traffic (contract: lifecycle.md 2.1). */
const RENEW_EXTENSION = 'access.renew.extend.seconds'
/** Asks to be paused when there is no traffic: an addition to the contract (docs/create-and-deadlines.md). */
const IDLE_EXTENSION = 'access.idle.pause.seconds'
/** Says whether a request wakes it when it is paused: an addition, too (docs/gateway.md). */
const WAKE_EXTENSION = 'access.wake.on.request'
const ECHOED_EXTENSION = /^opensandbox\.extensions\./
const EGRESS_ENV = /^OPENSANDBOX_EGRESS_/
const CALLER_EGRESS_ENV = new Set(
  [
    'LOG_LEVEL',
    'DNS_UPSTREAM_TIMEOUT',
    'MITMPROXY_SSL_INSECURE',
    'MITMPROXY_TRANSPARENT',
    'MITMPROXY_EXTRA_PORTS',
    'DENY_WEBHOOK',
    'METRICS_EXTRA_ATTRS',
    'CREDENTIAL_VAULT_REQUIRE_TLS',
    'CREDENTIAL_VAULT_REQUIRE_SCOPED_MATCH',
    'CREDENTIAL_VAULT_TRUSTED_PROXY_CIDRS',
    'POLICY_FILE',
  ].map((name) => `OPENSANDBOX_EGRESS_${name}`),
)

const INSECURE_ENV = 'OPENSANDBOX_EGRESS_MITMPROXY_SSL_INSECURE'
const TRUTHY = /^\s*(1|true|yes|y|on)\s*$/i

/** What to write down and to start, or an ApiError that names the field. */
export function planCreate(request: CreateRequest, limits: PlanLimits): CreatePlan {
  const { extensions = {}, metadata = {}, networkPolicy } = request
  const warnings: string[] = []
  const renewSeconds = readSeconds(RENEW_EXTENSION, extensions[RENEW_EXTENSION], { min: 300, max: 86_400 })
  const idleSeconds = readSeconds(IDLE_EXTENSION, extensions[IDLE_EXTENSION], { min: 60, max: 86_400 })
  if (idleSeconds !== undefined && !limits.canPause)
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `extensions["${IDLE_EXTENSION}"] is not supported by this runtime, which cannot pause: leave it out`,
    )
  const wake = readWake(extensions[WAKE_EXTENSION])
  if (!isBlank(request.snapshotId)) throw refusal('SNAPSHOT::NOT_FOUND', 'There is no snapshot with this id')
  const { image, entrypoint, resourceLimits } = request
  // The schema has asked for these three; only the types do not know.
  if (!image || !entrypoint || !resourceLimits)
    throw refusal('SANDBOX::INVALID_PARAMETER', 'image, entrypoint and resourceLimits are required')
  if (entrypoint[0]?.trim() === '')
    throw refusal(
      'DOCKER::INVALID_ENTRYPOINT',
      'entrypoint must begin with a program, but its first word is blank',
    )
  checkMetadata(metadata)
  const platform = request.platform && planPlatform(request.platform, limits.arch)
  const expiresAt = planExpiry(request.timeout, limits)
  if (renewSeconds !== undefined && limits.renewsOnAccess === false)
    warnings.push(
      `extensions["${RENEW_EXTENSION}"] has no effect: renew_intent.enabled is false on this server`,
    )
  if (renewSeconds !== undefined && expiresAt === undefined)
    warnings.push(`extensions["${RENEW_EXTENSION}"] has no effect without timeout: there is no end to renew`)
  const policy = networkPolicy && planPolicy(networkPolicy, limits.ruleSets)
  const credentialProxy = request.credentialProxy?.enabled && planCredentialProxy(request.env ?? {}, policy)
  if (credentialProxy) warnings.push(...credentialProxy.warnings)
  const env = { ...planEnv(request.env ?? {}, warnings), ...planHooks(request.lifecycle) }
  const parsed = parseLimits(resourceLimits, limits)
  for (const key of parsed.ignored) warnings.push(`resourceLimits.${key} has no effect on this runtime`)
  const { mounts, claims, ...volumes } = planVolumes(request.volumes ?? [], {
    allowedPaths: limits.allowedHostPaths,
    hasNamed: limits.hasVolumes,
  })
  warnings.push(...volumes.warnings)
  const isolated = checkIsolationExtension(extensions[ISOLATION_EXTENSION], limits)
  const pullPolicy = readPullPolicy(extensions[PULL_POLICY_EXTENSION], limits.pullPolicy)
  const { auth } = image
  return {
    image: { uri: image.uri.trim(), ...(auth && { auth }) },
    entrypoint,
    env,
    metadata,
    extensions: {
      ...callersExtensions(extensions),
      ...(isolated && { [ISOLATION_EXTENSION]: 'enable' }),
      ...(pullPolicy && { [PULL_POLICY_EXTENSION]: pullPolicy }),
    },
    ...(platform && { platform }),
    limits: parsed.limits,
    mounts,
    ...(claims.length > 0 && { volumes: claims }),
    ...(policy && { networkPolicy: policy }),
    ...(credentialProxy && { credentialProxy: true as const }),
    createdAt: limits.now,
    ...(expiresAt !== undefined && { expiresAt }),
    ...(expiresAt !== undefined && renewSeconds !== undefined && { renewSeconds }),
    ...(idleSeconds !== undefined && { idleSeconds }),
    ...(request.secureAccess && { secureAccess: true }),
    ...(wake !== undefined && { wake }),
    warnings,
  }
}

/** The extensions that are given back to the caller (contract: v1.1.md 1.3). */
export function callersExtensions(extensions: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(extensions).filter(([key]) => ECHOED_EXTENSION.test(key)))
}

function checkIsolationExtension(value: string | undefined, { allowIsolatedSessions }: PlanLimits): boolean {
  const asked = value?.trim().toLowerCase() ?? ''
  if (asked === '' || asked === 'disable') return false
  if (asked !== 'enable')
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `extensions["${ISOLATION_EXTENSION}"] must be "enable" or "disable"`,
    )
  if (!allowIsolatedSessions)
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `extensions["${ISOLATION_EXTENSION}"] is not allowed by this installation: its operator can allow it with runtime.allow_isolated_sessions = true`,
    )
  return true
}

// The one reading of policies that egress has too, so that what is taken here is not refused there.
function planPolicy(value: unknown, sets: KnownSets | undefined): NetworkPolicy {
  const checked = checkNetworkPolicy(value, sets)
  if ('policy' in checked) return checked.policy
  const { field } = checked
  throw refusal(
    'SANDBOX::INVALID_PARAMETER',
    formatPolicyProblem({ ...checked, field: field === '' ? 'networkPolicy' : `networkPolicy.${field}` }),
  )
}

// Secrets go where rules name a host; and a server that cannot show who it is gets none (contract: v1.1.md 1.3).
function planCredentialProxy(
  env: Record<string, string>,
  policy: NetworkPolicy | undefined,
): { warnings: string[] } {
  if (TRUTHY.test(env[INSECURE_ENV] ?? ''))
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `env.${INSECURE_ENV} cannot be used together with credentialProxy: the certificates of servers are always checked`,
    )
  return {
    warnings:
      policy?.defaultAction === 'allow'
        ? [
            'credentialProxy with a networkPolicy that allows by default is deprecated: only hosts that a rule allows get secrets',
          ]
        : [],
  }
}

function readSeconds(
  name: string,
  value: string | undefined,
  { min, max }: { min: number; max: number },
): number | undefined {
  if (value === undefined) return undefined
  const seconds = /^\s*\d{1,9}\s*$/.test(value) ? Number(value) : Number.NaN
  if (!(seconds >= min && seconds <= max))
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `extensions["${name}"] must be a whole number of seconds from ${min} to ${max}`,
    )
  return seconds
}

function readWake(value: string | undefined): WakeMode | undefined {
  const mode = WAKE_MODES.find((known) => known === value?.trim().toLowerCase())
  if (value !== undefined && mode === undefined)
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `extensions["${WAKE_EXTENSION}"] must be one of ${WAKE_MODES.map((known) => `"${known}"`).join(', ')}`,
    )
  return mode
}

function planPlatform({ os, arch }: Platform, machineArch: string): Platform {
  const platform = { os: os.trim().toLowerCase(), arch: arch.trim().toLowerCase() }
  const refuse = (message: string) => {
    throw refusal('SANDBOX::INVALID_PARAMETER', message)
  }
  if (!['linux', 'windows'].includes(platform.os)) refuse('platform.os must be "linux" or "windows"')
  if (!['amd64', 'arm64'].includes(platform.arch)) refuse('platform.arch must be "amd64" or "arm64"')
  if (platform.os !== 'linux') refuse('platform.os must be "linux": this runtime has no Windows sandboxes')
  if (platform.arch !== machineArch) refuse(`platform.arch must be "${machineArch}", as this machine is`)
  return platform
}

function planExpiry(timeout: number | undefined, { maxTimeoutSeconds, now }: PlanLimits): number | undefined {
  if (timeout === undefined) return undefined
  if (maxTimeoutSeconds !== undefined && timeout > maxTimeoutSeconds)
    throw refusal('SANDBOX::INVALID_PARAMETER', `timeout must be at most ${maxTimeoutSeconds} seconds`)
  const expiresAt = now + timeout * 1000
  if (expiresAt > LAST_MOMENT)
    throw refusal('SANDBOX::INVALID_PARAMETER', 'timeout leads beyond the year 9999')
  return expiresAt
}

function planEnv(env: Record<string, string>, warnings: string[]): Record<string, string> {
  const planned: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) {
    if (!EGRESS_ENV.test(name)) {
      planned[name] = value
      continue
    }
    if (!CALLER_EGRESS_ENV.has(name))
      throw refusal(
        'SANDBOX::INVALID_PARAMETER',
        `env: names that begin with "OPENSANDBOX_EGRESS_" are reserved, but for ${[...CALLER_EGRESS_ENV].map((known) => known.slice(19)).join(', ')}`,
      )
    warnings.push(`env.${name} has no effect on this runtime`)
  }
  return planned
}

/** execd's part: the hooks go to it as a variable that no process of the user's sees. */
function planHooks({ preStart, periodic = [] }: LifecycleHooks = {}): Record<string, string> {
  if (!preStart && periodic.length === 0) return {}
  const hooks: LifecycleHooks = {
    ...(preStart && { preStart }),
    ...(periodic.length > 0 && {
      periodic: periodic.map((hook) => ({ ...hook, name: hook.name.trim(), schedule: hook.schedule.trim() })),
    }),
  }
  return { [LIFECYCLE_VARIABLE]: JSON.stringify(hooks) }
}

function isBlank(value: string | undefined): boolean {
  return value === undefined || value.trim() === ''
}

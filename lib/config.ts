// The configuration of the whole product: one TOML file, then the environment, then flags; the later wins. Section and key
// names are the contract's (lifecycle.md 6.2) where the meaning is the same, so that an existing ~/.sandbox.toml works.
// A key of the contract that means nothing here is accepted with one warning; an unknown key or a bad value is an error
// that names the line, what was found and what is allowed. All problems are told at once.

import type { PullPolicy } from './api/images.ts'
import { type ConfiguredKey, findKeyProblems, type QuotaLimits } from './config/access.ts'
import { assemble, expandHome } from './config/assemble.ts'
import type { Settings } from './config/changes.ts'
import { type Check, show } from './config/checks.ts'
import { type DockerConfig, findDockerProblems } from './config/docker.ts'
import type { EgressServices } from './config/egress-services.ts'
import { type FrontConfig, findFrontProblems } from './config/front.ts'
import { findIngressProblems, type IngressConfig } from './config/ingress.ts'
import { formatProblem, type Path } from './config/lines.ts'
import { findOtelProblems, type OtelConfig } from './config/otel.ts'
import { readFlags } from './config/read-flags.ts'
import { readToml, type Unused } from './config/read-toml.ts'
import { findRenewQueueProblems, type RenewQueueConfig } from './config/renew-queue.ts'
import { ENVIRONMENT, FLAGS, SETTINGS, type SettingName, WITHOUT_MEANING } from './config/settings.ts'
import { findTenantProblems, type TenantsConfig } from './config/tenants.ts'
import type { DnsUpstream } from './name-server.ts'
import type { RuleSets } from './rule-sets.ts'

export type Config = {
  server: {
    host: string
    port: number
    /** Absent when nobody set one; an empty one counts as absent. */
    apiKey?: string
    /** Host, port and path under which clients reach this machine, as lib/public-address.ts writes it. */
    eip?: string
    maxSandboxTimeoutSeconds?: number
    /** Whose pages may use the API with a key, in lower case; `*` is everyone's. */
    corsOrigins: string[]
    /** Absolute. */
    dataDir: string
  }
  log: {
    level: 'debug' | 'info' | 'warn' | 'error'
    /** Where the gateway writes a line of JSON for each request. */
    accessFile?: string
  }
  runtime: {
    type: 'local' | 'docker'
    ociRuntime: string
    defaultImage: string
    /** Alias to image reference, or to the path of an archive. */
    images: Record<string, string>
    imagePullPolicy: PullPolicy
    /** The most that one image may take on the disk, unpacked. */
    imageMaxUnpackedBytes: number
    /** Images that nobody has used for so long are removed; never when absent. */
    imageMaxAgeHours?: number
    /** What all images together may take before the least recently used are removed; without a bound when absent. */
    imageMaxBytes?: number
    /** `host:port` of registries that are spoken to without TLS. */
    insecureRegistries: string[]
    /** `host` or `host:port` of registries that creates may name although they are at addresses of this machine. */
    internalRegistries: string[]
    subnet: string
    /** "auto", or the range; absent where sandboxes have no IPv6. */
    subnet6?: string
    pidsLimit: number
    /** What a sandbox may write to its own file system whose create says nothing of it; no limit when absent. */
    defaultDiskBytes?: number
    stopGraceSeconds: number
    pullTimeoutSeconds: number
    /** Whether a sandbox may ask to make namespaces of its own (docs/decisions/isolated-sessions.md). */
    allowIsolatedSessions: boolean
  }
  docker: DockerConfig
  ingress: IngressConfig
  front: FrontConfig
  egress: {
    defaultAction: 'allow' | 'deny'
    /** Targets of rules that stand before those of every policy. */
    alwaysDeny: string[]
    alwaysAllow: string[]
    /** What rules may mean by `set:name`. */
    ruleSets: RuleSets
    upstreamDns: DnsUpstream[]
  } & EgressServices
  /** Renewal by traffic (contract: lifecycle.md 7.1). */
  renewIntent: { enabled: boolean; minIntervalSeconds?: number }
  storage: { allowedHostPaths: string[] }
  /** How long is kept what nothing needs any more. */
  retention: {
    eventsHours: number
    endedSandboxesHours: number
    auditHours: number
    idempotencyHours: number
    /** Of each kind, for each tenant. */
    maxMbOfTenant: number
  }
  auth: {
    keys: ConfiguredKey[]
    /** Whether a server of which every made key has ended answers this machine without one again. */
    allowNoKey: boolean
  }
  quotas: {
    /** Of any kind, from each tenant. */
    requestsPerMinute: number
    /** For tenants that are not in `tenants`. */
    default: QuotaLimits
    tenants: ReadonlyMap<string, QuotaLimits>
  }
  /** Who else knows keys (contract: v1.1.md 7.3). */
  tenants?: TenantsConfig
  /** What opens `/metrics` and nothing else, beside the operator's keys. */
  metrics: { token?: string }
  /** Present when telemetry is sent. */
  otel?: OtelConfig
  /** Present when traffic is told by a queue in Redis, too. */
  renewQueue?: RenewQueueConfig
}

/** All that is wrong with a configuration, one problem per line. */
export class ConfigError extends Error {
  readonly problems: string[]
  constructor(problems: string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

export type ConfigSources = {
  env: Record<string, string | undefined>
  /** Flags as typed: `['--port', '8081']` or `['--port=8081']`; those in `ownFlags` are left to the program. */
  args: string[]
  /** Flags without a value that the program itself understands. */
  ownFlags?: string[]
  /** Reads a file, or returns undefined when there is none. */
  readFile: (path: string) => string | undefined
}

export type LoadedConfig = {
  config: Config
  warnings: string[]
  flags: Set<string>
  /** All settings by their names, for telling what a later configuration changes. */
  settings: Settings
}

/** Everything that is to be said of a configuration, right or wrong. */
export type ReadConfig = {
  /** The file that was read, if there is one. */
  file?: string
  problems: string[]
  /** Keys that have no meaning here. */
  unused: Unused[]
  /** Absent when there are problems. */
  loaded?: LoadedConfig
}

/** Settings that mean something to the Docker runtime alone. */
const OF_DOCKER = /^(docker|secure_runtime)\./

/** Reads the configuration from all its sources. Throws ConfigError with every problem found. */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const { loaded, problems } = readConfig(sources)
  if (!loaded) throw new ConfigError(problems)
  return loaded
}

/** Reads the configuration from all its sources, and tells every problem and every key that is not used. */
export function readConfig({ env, args, ownFlags = [], readFile }: ConfigSources): ReadConfig {
  const problems: string[] = []
  const unused: Unused[] = []
  const values = new Map<string, unknown>()
  const places = new Map<string, string>()
  const set = (name: SettingName, value: unknown, where: (within: Path) => string) => {
    const check: Check = SETTINGS[name][0]
    places.set(name, where([]))
    const before = problems.length
    const read = check.read(value, (at, problem) =>
      problems.push(formatProblem(where(at), [...name.split('.'), ...at], problem)),
    )
    if (problems.length > before) return
    if (read === undefined) {
      const found = check.isSecret ? 'something else' : show(value)
      problems.push(`${where([])}: "${name}" must be ${check.allowed}, but it is ${found}`)
    } else values.set(name, read)
  }

  const { values: given, own } = readFlags(
    args,
    { known: ['--config', ...Object.keys(FLAGS)], ownFlags },
    problems,
  )
  const named = given.get('--config') ?? env.SANDBOX_CONFIG_PATH
  const path = expandHome(named ?? '~/.sandbox.toml')
  const source = readFile(path)
  if (source === undefined && named)
    problems.push(`Cannot read the configuration "${path}": there is no such file`)
  if (source !== undefined) {
    const known = { settings: Object.keys(SETTINGS), withoutMeaning: WITHOUT_MEANING }
    readToml(source, path, {
      known,
      set: (name, value, where) => set(name as SettingName, value, where),
      problems,
      unused,
    })
  }
  for (const [variable, name] of Object.entries(ENVIRONMENT)) {
    const value = env[variable]
    // The contract lets an empty key from the environment switch the key of the file off (lifecycle.md 6.1).
    if (value !== undefined && (value !== '' || name === 'server.api_key'))
      set(name, value, () => `Environment ${variable}`)
  }
  for (const [flag, value] of given) {
    const name = FLAGS[flag]
    if (name) set(name, value, () => `Flag ${flag}`)
  }
  const file = source === undefined ? {} : { file: path }
  const settings = new Map(
    Object.entries(SETTINGS).map(([name, [, initial]]) => [
      name,
      values.has(name) ? values.get(name) : initial,
    ]),
  )
  problems.push(
    ...findKeyProblems(settings, places),
    ...findTenantProblems(settings, places),
    ...findOtelProblems(settings, places),
    ...findIngressProblems(settings, places),
    ...findRenewQueueProblems(settings, places),
    ...findFrontProblems(settings, places),
    ...findDockerProblems(settings, places),
  )
  if (settings.get('runtime.type') !== 'docker')
    // DOCKER_HOST is in many an environment, for other programs.
    for (const [name, where] of places)
      if (OF_DOCKER.test(name) && !where.startsWith('Environment')) unused.push({ where, name })
  if (problems.length > 0) return { ...file, problems, unused }
  const config = assemble(settings, env)
  if (!isLoopback(config.server.host) && !needsKey(config)) {
    const problem = `Cannot listen on "${config.server.host}" without an API key: set server.api_key or OPENSANDBOX_SERVER_API_KEY, or listen on 127.0.0.1`
    return { ...file, problems: [problem], unused }
  }
  const names = unused.map(({ name }) => name).join(', ')
  const warnings =
    unused.length > 0 ? [`${path}: these keys have no meaning here and are not used: ${names}`] : []
  return { ...file, problems, unused, loaded: { config, warnings, flags: own, settings } }
}

/** Whether the configuration itself names keys, so that nobody comes in without one. */
export function needsKey({ server, auth, tenants }: Config): boolean {
  return server.apiKey !== undefined || auth.keys.length > 0 || tenants !== undefined
}

/** Whether an address to listen on can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

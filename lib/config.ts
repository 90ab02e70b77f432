// The configuration of the whole product: one TOML file, then the environment, then flags; the later wins. Section and key
// names are the contract's (lifecycle.md 6.2) where the meaning is the same, so that an existing ~/.sandbox.toml works.
// A key of the contract that means nothing here is accepted with one warning; an unknown key or a bad value is an error
// that names the line, what was found and what is allowed. All problems are told at once.

import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import {
  type ConfiguredKey,
  findKeyProblems,
  keyList,
  mergeQuotas,
  type QuotaLimits,
  quota,
  quotaTable,
  withoutInfinite,
} from './config/access.ts'
import type { Settings } from './config/changes.ts'
import {
  anyText,
  type Check,
  headerName,
  headerValue,
  httpUrl,
  integer,
  nameServers,
  oneOf,
  origins,
  secret,
  show,
  subnet,
  text,
  texts,
  textTable,
  yesOrNo,
} from './config/checks.ts'
import { formatProblem, type Path } from './config/lines.ts'
import { findOtelProblems, headerTable, type OtelConfig, otelOf } from './config/otel.ts'
import { readFlags } from './config/read-flags.ts'
import { readToml, type Unused } from './config/read-toml.ts'
import { findTenantProblems, type TenantsConfig, tenantsOf } from './config/tenants.ts'
import type { NameServer } from './name-server.ts'

const LOG_LEVEL = oneOf('debug', 'info', 'warn', 'error', 'DEBUG', 'INFO', 'WARNING', 'WARN', 'ERROR')

// One line per setting: name, what is allowed, default.
const SETTINGS = {
  'server.host': [text, '127.0.0.1'],
  'server.port': [integer(1, 65535), 8080],
  'server.api_key': [secret(anyText), undefined],
  'server.eip': [text, undefined],
  'server.max_sandbox_timeout_seconds': [integer(60, 2 ** 31), undefined],
  'server.cors_origins': [origins, ['*']],
  'server.data_dir': [text, '/var/lib/opensandbox'],
  'log.level': [LOG_LEVEL, 'info'],
  'runtime.type': [oneOf('local', 'docker', 'kubernetes'), 'local'],
  'runtime.oci_runtime': [text, 'runc'],
  'runtime.default_image': [text, 'host'],
  'runtime.images': [textTable, {}],
  'runtime.insecure_registries': [texts, []],
  'runtime.subnet': [subnet, 'auto'],
  'runtime.pids_limit': [integer(16, 4_194_304), 4096],
  'runtime.stop_grace_seconds': [integer(0, 600), 10],
  'runtime.pull_timeout_seconds': [integer(1, 86_400), 600],
  'runtime.allow_isolated_sessions': [yesOrNo, false],
  'ingress.domain': [text, 'localhost'],
  'egress.default_action': [oneOf('allow', 'deny'), 'allow'],
  'egress.upstream_dns': [nameServers, []],
  'storage.allowed_host_paths': [texts, []],
  'retention.events_hours': [integer(1, 87_600), 168],
  'retention.ended_sandboxes_hours': [integer(1, 87_600), 168],
  'retention.audit_hours': [integer(1, 87_600), 2160],
  'retention.idempotency_hours': [integer(1, 720), 24],
  'auth.keys': [keyList, []],
  'auth.allow_no_key': [yesOrNo, false],
  'quotas.default': [quota, {}],
  'quotas.tenants': [quotaTable, []],
  'tenants.provider': [oneOf('file', 'http'), undefined],
  'tenants.endpoint': [httpUrl, undefined],
  'tenants.auth_header': [headerName, undefined],
  'tenants.auth_token': [secret(headerValue), undefined],
  'tenants.max_stale_seconds': [integer(0, 604_800), 300],
  'metrics.token': [secret(headerValue), undefined],
  'otel.enabled': [yesOrNo, false],
  'otel.endpoint': [httpUrl, undefined],
  'otel.service_name': [text, 'opensandbox-server'],
  'otel.export_interval_millis': [integer(1000, 86_400_000), 60_000],
  'otel.headers': [headerTable, {}],
} satisfies Record<string, [Check, unknown]>

// Keys of the contract that have no meaning here: accepted, with one warning line for all of them.
const WITHOUT_MEANING = [
  'server.timeout_keep_alive',
  'server.limit_concurrency',
  'server.backlog',
  'server.thread_pool_size',
  'server.loop',
  'server.http',
  'log.file_enabled',
  'log.file_path',
  'log.access_file_path',
  'log.file_max_bytes',
  'log.file_backup_count',
  'runtime.execd_image',
  'docker.*',
  'ingress.mode',
  'ingress.gateway.*',
  'ingress.secure_access.*',
  'egress.image',
  'egress.mode',
  'egress.disable_ipv6',
  'storage.volume_default_size',
  'storage.ossfs_mount_root',
  'store.*',
  'secure_runtime.*',
  'renew_intent.*',
  'kubernetes.*',
  'agent_sandbox.*',
] // prettier-ignore

const ENVIRONMENT: Record<string, SettingName> = {
  OPENSANDBOX_SERVER_API_KEY: 'server.api_key',
  OPENSANDBOX_HOST: 'server.host',
  OPENSANDBOX_PORT: 'server.port',
  OPENSANDBOX_DATA_DIR: 'server.data_dir',
  OPENSANDBOX_RUNTIME: 'runtime.type',
  OPENSANDBOX_LOG_LEVEL: 'log.level',
  OPENSANDBOX_METRICS_TOKEN: 'metrics.token',
}

const FLAGS: Record<string, SettingName> = {
  '--host': 'server.host',
  '--port': 'server.port',
  '--data-dir': 'server.data_dir',
  '--runtime': 'runtime.type',
}

type SettingName = keyof typeof SETTINGS

/** Where tenants are looked for when the environment names no other file (contract: v1.1.md 7.3). */
const TENANTS_FILE = '~/.opensandbox/tenants.toml'

export type Config = {
  server: {
    host: string
    port: number
    /** Absent when nobody set one; an empty one counts as absent. */
    apiKey?: string
    eip?: string
    maxSandboxTimeoutSeconds?: number
    /** Whose pages may use the API with a key, in lower case; `*` is everyone's. */
    corsOrigins: string[]
    /** Absolute. */
    dataDir: string
  }
  log: { level: 'debug' | 'info' | 'warn' | 'error' }
  runtime: {
    type: 'local' | 'docker' | 'kubernetes'
    ociRuntime: string
    defaultImage: string
    /** Alias to image reference, or to the path of an archive. */
    images: Record<string, string>
    /** `host:port` of registries that are spoken to without TLS. */
    insecureRegistries: string[]
    subnet: string
    pidsLimit: number
    stopGraceSeconds: number
    pullTimeoutSeconds: number
    /** Whether a sandbox may ask to make namespaces of its own (docs/decisions/isolated-sessions.md). */
    allowIsolatedSessions: boolean
  }
  ingress: { domain: string }
  egress: { defaultAction: 'allow' | 'deny'; upstreamDns: NameServer[] }
  storage: { allowedHostPaths: string[] }
  /** How long is kept what nothing needs any more. */
  retention: {
    eventsHours: number
    endedSandboxesHours: number
    auditHours: number
    idempotencyHours: number
  }
  auth: {
    keys: ConfiguredKey[]
    /** Whether a server of which every made key has ended answers this machine without one again. */
    allowNoKey: boolean
  }
  quotas: {
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
  )
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

function assemble(settings: Settings, env: ConfigSources['env']): Config {
  const get = <T>(name: SettingName) => settings.get(name) as T
  const optional = <K extends string, T>(key: K, value: T | undefined | '') =>
    (value === undefined || value === '' ? {} : { [key]: value }) as { [P in K]?: T }
  const defaultQuota = get<QuotaLimits>('quotas.default')
  return {
    server: {
      host: get('server.host'),
      port: get('server.port'),
      ...optional('apiKey', get<string | undefined>('server.api_key')),
      ...optional('eip', get<string | undefined>('server.eip')),
      ...optional('maxSandboxTimeoutSeconds', get<number | undefined>('server.max_sandbox_timeout_seconds')),
      corsOrigins: get('server.cors_origins'),
      dataDir: resolve(expandHome(get('server.data_dir'))),
    },
    log: {
      level: get<string>('log.level').toLowerCase().replace('warning', 'warn') as Config['log']['level'],
    },
    runtime: {
      type: get('runtime.type'),
      ociRuntime: get('runtime.oci_runtime'),
      defaultImage: get('runtime.default_image'),
      images: get('runtime.images'),
      insecureRegistries: get('runtime.insecure_registries'),
      subnet: get('runtime.subnet'),
      pidsLimit: get('runtime.pids_limit'),
      stopGraceSeconds: get('runtime.stop_grace_seconds'),
      pullTimeoutSeconds: get('runtime.pull_timeout_seconds'),
      allowIsolatedSessions: get('runtime.allow_isolated_sessions'),
    },
    ingress: { domain: get<string>('ingress.domain').toLowerCase() },
    egress: { defaultAction: get('egress.default_action'), upstreamDns: get('egress.upstream_dns') },
    storage: { allowedHostPaths: get('storage.allowed_host_paths') },
    retention: {
      eventsHours: get('retention.events_hours'),
      endedSandboxesHours: get('retention.ended_sandboxes_hours'),
      auditHours: get('retention.audit_hours'),
      idempotencyHours: get('retention.idempotency_hours'),
    },
    auth: { keys: get('auth.keys'), allowNoKey: get('auth.allow_no_key') },
    quotas: {
      default: withoutInfinite(defaultQuota),
      tenants: new Map(
        get<[string, QuotaLimits][]>('quotas.tenants').map(([name, own]) => [
          name,
          mergeQuotas(defaultQuota, own),
        ]),
      ),
    },
    ...optional(
      'tenants',
      tenantsOf(settings, resolve(expandHome(env.SANDBOX_TENANTS_CONFIG_PATH || TENANTS_FILE))),
    ),
    metrics: { ...optional('token', get<string | undefined>('metrics.token')) },
    ...optional('otel', otelOf(settings)),
  }
}

/** Whether the configuration itself names keys, so that nobody comes in without one. */
export function needsKey({ server, auth, tenants }: Config): boolean {
  return server.apiKey !== undefined || auth.keys.length > 0 || tenants !== undefined
}

/** Whether an address to listen on can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path
}

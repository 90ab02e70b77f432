// The configuration of the whole product: one TOML file, then the environment, then flags; the later wins. Section and key
// names are the contract's (lifecycle.md 6.2) where the meaning is the same, so that an existing ~/.sandbox.toml works.
// A key of the contract that means nothing here is accepted with one warning; an unknown key or a bad value is an error
// that names the line, what was found and what is allowed. All problems are told at once.

import { isIPv4 } from 'node:net'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parse, TomlError } from 'smol-toml'

type Check = { allowed: string; read: (value: unknown) => unknown }

const anyText: Check = { allowed: 'a text', read: (v) => (typeof v === 'string' ? v : undefined) }
const text: Check = {
  allowed: 'a text that is not empty',
  read: (v) => (typeof v === 'string' && v !== '' ? v : undefined),
}
const oneOf = (...values: string[]): Check => ({
  allowed: `one of ${values.map((v) => `"${v}"`).join(', ')}`,
  read: (v) => (typeof v === 'string' && values.includes(v) ? v : undefined),
})
const integer = (min: number, max: number): Check => ({
  allowed: `an integer from ${min} to ${max}`,
  read: (v) => {
    const n = typeof v === 'bigint' ? Number(v) : typeof v === 'string' && /^\d+$/.test(v) ? Number(v) : v
    return typeof n === 'number' && Number.isInteger(n) && n >= min && n <= max ? n : undefined
  },
})
const yesOrNo: Check = {
  allowed: 'true or false',
  read: (v) => (typeof v === 'boolean' ? v : undefined),
}
const texts: Check = {
  allowed: 'a list of texts',
  read: (v) => (Array.isArray(v) && v.every((item) => typeof item === 'string') ? v : undefined),
}
const textTable: Check = {
  allowed: 'a table of texts',
  read: (v) =>
    isTable(v) && Object.values(v).every((item) => typeof item === 'string' && item !== '') ? v : undefined,
}
const subnet: Check = {
  allowed: '"auto", or a private IPv4 range of /16 to /24 such as "10.88.0.0/16"',
  read: (v) => {
    if (v === 'auto') return v
    const match = typeof v === 'string' ? /^([0-9.]+)\/(1[6-9]|2[0-4])$/.exec(v) : null
    return match && isIPv4(match[1] ?? '') ? v : undefined
  },
}

const LOG_LEVEL = oneOf('debug', 'info', 'warn', 'error', 'DEBUG', 'INFO', 'WARNING', 'WARN', 'ERROR')

// One line per setting: name, what is allowed, default.
const SETTINGS = {
  'server.host': [text, '127.0.0.1'],
  'server.port': [integer(1, 65535), 8080],
  'server.api_key': [anyText, undefined],
  'server.eip': [text, undefined],
  'server.max_sandbox_timeout_seconds': [integer(60, 2 ** 31), undefined],
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
  'egress.upstream_dns': [texts, []],
  'storage.allowed_host_paths': [texts, []],
  'retention.events_hours': [integer(1, 87_600), 168],
  'retention.ended_sandboxes_hours': [integer(1, 87_600), 168],
  'retention.audit_hours': [integer(1, 87_600), 2160],
  'retention.idempotency_hours': [integer(1, 720), 24],
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
}

const FLAGS: Record<string, SettingName> = {
  '--host': 'server.host',
  '--port': 'server.port',
  '--data-dir': 'server.data_dir',
  '--runtime': 'runtime.type',
}

type SettingName = keyof typeof SETTINGS

export type Config = {
  server: {
    host: string
    port: number
    /** Absent when nobody set one; an empty one counts as absent. */
    apiKey?: string
    eip?: string
    maxSandboxTimeoutSeconds?: number
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
  egress: { defaultAction: 'allow' | 'deny'; upstreamDns: string[] }
  storage: { allowedHostPaths: string[] }
  /** How long is kept what nothing needs any more. */
  retention: {
    eventsHours: number
    endedSandboxesHours: number
    auditHours: number
    idempotencyHours: number
  }
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

export type LoadedConfig = { config: Config; warnings: string[]; flags: Set<string> }

/** Reads the configuration from all its sources. Throws ConfigError with every problem found. */
export function loadConfig({ env, args, ownFlags = [], readFile }: ConfigSources): LoadedConfig {
  const problems: string[] = []
  const warnings: string[] = []
  const flags = new Set<string>()
  const values = new Map<SettingName, unknown>()
  const set = (name: SettingName, value: unknown, where: string) => {
    const [check] = SETTINGS[name]
    const read = check.read(value)
    if (read === undefined)
      problems.push(`${where}: "${name}" must be ${check.allowed}, but it is ${show(name, value)}`)
    else values.set(name, read)
  }

  const given = readFlags(args, ownFlags, problems, flags)
  const named = given.get('--config') ?? env.SANDBOX_CONFIG_PATH
  const path = expandHome(named ?? '~/.sandbox.toml')
  const source = readFile(path)
  if (source === undefined && named)
    problems.push(`Cannot read the configuration "${path}": there is no such file`)
  if (source !== undefined) readToml(source, path, set, problems, warnings)
  for (const [variable, name] of Object.entries(ENVIRONMENT)) {
    const value = env[variable]
    // The contract lets an empty key from the environment switch the key of the file off (lifecycle.md 6.1).
    if (value !== undefined && (value !== '' || name === 'server.api_key'))
      set(name, value, `Environment ${variable}`)
  }
  for (const [flag, value] of given) {
    const name = FLAGS[flag]
    if (name) set(name, value, `Flag ${flag}`)
  }
  if (problems.length > 0) throw new ConfigError(problems)

  const get = <T>(name: SettingName) => (values.has(name) ? values.get(name) : SETTINGS[name][1]) as T
  const optional = <K extends string, T>(key: K, value: T | undefined | '') =>
    (value === undefined || value === '' ? {} : { [key]: value }) as { [P in K]?: T }
  const config: Config = {
    server: {
      host: get('server.host'),
      port: get('server.port'),
      ...optional('apiKey', get<string | undefined>('server.api_key')),
      ...optional('eip', get<string | undefined>('server.eip')),
      ...optional('maxSandboxTimeoutSeconds', get<number | undefined>('server.max_sandbox_timeout_seconds')),
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
  }
  if (!isLoopback(config.server.host) && !config.server.apiKey) {
    throw new ConfigError([
      `Cannot listen on "${config.server.host}" without an API key: set server.api_key or OPENSANDBOX_SERVER_API_KEY, or listen on 127.0.0.1`,
    ])
  }
  return { config, warnings, flags }
}

/** Whether an address to listen on can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function readFlags(
  args: string[],
  ownFlags: string[],
  problems: string[],
  flags: Set<string>,
): Map<string, string> {
  const given = new Map<string, string>()
  const known = ['--config', ...Object.keys(FLAGS)]
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? ''
    const equals = arg.indexOf('=')
    const name = equals > 0 ? arg.slice(0, equals) : arg
    if (ownFlags.includes(arg)) flags.add(arg)
    else if (!known.includes(name)) {
      problems.push(`Unknown argument "${arg}": allowed are ${[...known, ...ownFlags].join(', ')}`)
    } else {
      const value = equals > 0 ? arg.slice(equals + 1) : args[++at]
      if (value === undefined || value === '') problems.push(`Flag ${name} needs a value`)
      else given.set(name, value)
    }
  }
  return given
}

function readToml(
  source: string,
  path: string,
  set: (name: SettingName, value: unknown, where: string) => void,
  problems: string[],
  warnings: string[],
): void {
  let root: unknown
  try {
    root = parse(source)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    problems.push(`${path}:${error.line}: not valid TOML: ${error.message.split('\n')[0]}`)
    return
  }
  const unused: string[] = []
  const walk = (table: Record<string, unknown>, prefix: string) => {
    for (const [key, value] of Object.entries(table)) {
      const name = prefix ? `${prefix}.${key}` : key
      const where = `${path}:${lineOf(source, name)}`
      if (Object.hasOwn(SETTINGS, name)) set(name as SettingName, value, where)
      else if (
        WITHOUT_MEANING.some(
          (known) => known === name || (known.endsWith('.*') && name.startsWith(known.slice(0, -1))),
        )
      )
        unused.push(name)
      else if (isTable(value) && isSection(name)) walk(value, name)
      else problems.push(`${where}: unknown key "${name}": ${suggest(name)}`)
    }
  }
  walk(root as Record<string, unknown>, '')
  if (unused.length > 0)
    warnings.push(`${path}: these keys have no meaning here and are not used: ${unused.join(', ')}`)
}

function isSection(name: string): boolean {
  return [...Object.keys(SETTINGS), ...WITHOUT_MEANING].some((known) => known.startsWith(`${name}.`))
}

function suggest(name: string): string {
  const section = name.split('.')[0] ?? ''
  const keys = Object.keys(SETTINGS).filter((key) => key.startsWith(`${section}.`))
  if (keys.length > 0)
    return `[${section}] knows ${keys.map((key) => key.slice(section.length + 1)).join(', ')}`
  return `the sections are ${[...new Set(Object.keys(SETTINGS).map((key) => key.split('.')[0]))].join(', ')}`
}

/** The line on which a dotted key stands, found by its section and its last part; 1 when it is written in another way. */
function lineOf(source: string, name: string): number {
  const parts = name.split('.')
  const key = parts.at(-1) ?? ''
  const section = parts.slice(0, -1).join('.')
  let current = ''
  for (const [index, line] of source.split('\n').entries()) {
    const header = /^\s*\[+\s*([^\]]+?)\s*\]+/.exec(line)
    if (header) current = (header[1] ?? '').replace(/["'\s]/g, '')
    if (header && current === name) return index + 1
    const assigned = /^\s*([^=#]+?)\s*=/.exec(line)?.[1]?.replace(/["'\s]/g, '')
    if (assigned && (assigned === name || (current === section && assigned === key))) return index + 1
  }
  return 1
}

function show(name: string, value: unknown): string {
  if (name === 'server.api_key') return 'something else'
  const shown = typeof value === 'bigint' ? String(value) : JSON.stringify(value)
  return shown === undefined ? String(value) : shown.slice(0, 100)
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path
}

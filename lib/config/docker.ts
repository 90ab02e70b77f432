// What the Docker runtime is told: how it reaches the daemon, and what every container of it is given (contract: lifecycle.md 6.2,
// v1.1.md 7.1).

import { CAPABILITIES } from './capabilities.ts'
import { type Check, isTable, show } from './checks.ts'
import type { SettingName } from './settings.ts'

export type DockerConfig = {
  /** As `DOCKER_HOST` has it; absent for the socket that Docker has by default. */
  host?: string
  /** Whether TLS is wanted of a daemon behind TCP; absent when nobody says, and then certificates say so. It is always verified. */
  tlsVerify?: boolean
  /** The directory of `ca.pem`, `cert.pem` and `key.pem`. */
  certPath?: string
  /** Whether a daemon of another machine may be spoken to without TLS. */
  allowPlaintext?: boolean
  /** What the SSH client reads in the place of its usual configuration. */
  sshConfig?: string
  /** The socket of an SSH agent. */
  sshAgent?: string
  apiTimeoutSeconds: number
  /** Without `CAP_`. */
  dropCapabilities: string[]
  /** Absent for the daemon's own. */
  apparmorProfile?: string
  seccompProfile?: string
  noNewPrivileges: boolean
  pidsLimit: number
  /** Below what a request and above what an image says. */
  sandboxEnv: Record<string, string>
  /** `HOST:CONTAINER[:ro]`, in every sandbox. */
  sandboxBinds: string[]
  /** The name under which the daemon knows the OCI runtime; absent for its default. */
  ociRuntime?: string
}

/** Upstream's default, too: what is left is what the root of an ordinary server needs. */
export const DROPPED_CAPABILITIES = [
  'AUDIT_WRITE',
  'MKNOD',
  'NET_ADMIN',
  'NET_RAW',
  'SYS_ADMIN',
  'SYS_MODULE',
  'SYS_PTRACE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
]

/** Names under which a runtime is registered when nobody says another (contract: lifecycle.md 6.2). */
const SECURE_RUNTIMES: Record<string, string> = { gvisor: 'runsc', kata: 'kata-runtime' }

const NAME = /^[A-Za-z_]\w*$/

export const capabilities: Check = {
  allowed: 'a list of capabilities such as "NET_RAW"',
  read: (value, report) => {
    if (!Array.isArray(value)) return undefined
    return value.map((item, at) => {
      const name = typeof item === 'string' ? item.toUpperCase().replace(/^CAP_/, '') : ''
      if (!CAPABILITIES.includes(name))
        report(
          [at],
          `must be a capability such as "NET_RAW" (allowed: ${CAPABILITIES.join(', ')}), but it is ${show(item)}`,
        )
      return name
    })
  },
}

/** Blank is the daemon's own (contract: lifecycle.md 6.2). */
export const profile: Check = {
  allowed: 'a text',
  read: (v) => (typeof v === 'string' ? v.trim() : undefined),
}

/** What the file says is looked at by who starts Docker's runtime. */
export const seccompProfile: Check = {
  allowed: '"unconfined", "builtin", or the path of a profile, which begins with "/"',
  read: (v) => {
    const name = typeof v === 'string' ? v.trim() : undefined
    return name === undefined || !/^(?:|unconfined|builtin|\/.+)$/.test(name) ? undefined : name
  },
}

/** As Docker reads DOCKER_TLS_VERIFY: any text means yes. */
export const yesByAnyText: Check = {
  allowed: 'true or false',
  read: (v) => (typeof v === 'string' && v !== '' ? true : typeof v === 'boolean' ? v : undefined),
}

export const absolutePath: Check = {
  allowed: 'an absolute path',
  read: (v) => (typeof v === 'string' && /^\/[^\0]*$/.test(v) ? v : undefined),
}

export const environment: Check = {
  allowed: 'a table of texts, or a list of texts "NAME=value"',
  read: (value, report) => {
    const pairs = Array.isArray(value)
      ? value.map((item, at) => ({ at, pair: typeof item === 'string' ? splitPair(item) : undefined, item }))
      : isTable(value)
        ? Object.entries(value).map(([name, item]) => ({
            at: name,
            pair: typeof item === 'string' ? ([name, item] as const) : undefined,
            item,
          }))
        : undefined
    if (!pairs) return undefined
    const found: Record<string, string> = {}
    for (const { at, pair } of pairs) {
      if (!pair || !NAME.test(pair[0]) || pair[1].includes('\0'))
        // The value may be a secret.
        report([at], 'must be a variable with a name of letters, digits and "_", and a text as its value')
      else found[pair[0]] = pair[1]
    }
    return found
  },
}

export const binds: Check = {
  allowed: 'a list of texts "/host/path:/sandbox/path" or "/host/path:/sandbox/path:ro"',
  read: (value, report) => {
    if (!Array.isArray(value)) return undefined
    return value.map((item, at) => {
      const isBind =
        typeof item === 'string' &&
        /^\/[^:\0]*:\/[^:\0]+(:r[ow])?$/.test(item) &&
        !/\/\.\.?(\/|:|$)/.test(item)
      if (!isBind)
        report(
          [at],
          `must be "/host/path:/sandbox/path", with ":ro" if it is only to be read, but it is ${show(item)}`,
        )
      return item
    })
  },
}

function splitPair(text: string): readonly [string, string] | undefined {
  const at = text.indexOf('=')
  return at > 0 ? [text.slice(0, at), text.slice(at + 1)] : undefined
}

/** One sentence for each setting that fits no other one. */
export function findDockerProblems(
  settings: ReadonlyMap<string, unknown>,
  places: ReadonlyMap<string, string>,
): string[] {
  const type = settings.get('secure_runtime.type')
  const problem = (name: SettingName, text: string) =>
    `${places.get(name) ?? 'Configuration'}: "${name}" ${text}`
  if (settings.get('runtime.type') !== 'docker') return []
  if (type === 'firecracker') return [problem('secure_runtime.type', 'must be "gvisor" or "kata" on Docker')]
  if (type === '' && settings.get('secure_runtime.docker_runtime') !== undefined)
    return [problem('secure_runtime.docker_runtime', 'needs a "secure_runtime.type"')]
  return []
}

export function dockerOf(get: <T>(name: SettingName) => T): DockerConfig {
  const type = get<string>('secure_runtime.type')
  const ociRuntime =
    type === ''
      ? undefined
      : (get<string | undefined>('secure_runtime.docker_runtime') ?? SECURE_RUNTIMES[type])
  const host = get<string | undefined>('docker.host')
  const apparmorProfile = get<string | undefined>('docker.apparmor_profile')
  const seccompProfile = get<string | undefined>('docker.seccomp_profile')
  const tlsVerify = get<boolean | undefined>('docker.tls_verify')
  const certPath = get<string | undefined>('docker.cert_path')
  const sshConfig = get<string | undefined>('docker.ssh_config')
  const sshAgent = get<string | undefined>('docker.ssh_agent')
  return {
    ...(host && { host }),
    ...(tlsVerify !== undefined && { tlsVerify }),
    ...(certPath && { certPath }),
    ...(get<boolean>('docker.allow_plaintext') && { allowPlaintext: true }),
    ...(sshConfig && { sshConfig }),
    ...(sshAgent && { sshAgent }),
    apiTimeoutSeconds: get('docker.api_timeout'),
    dropCapabilities: get('docker.drop_capabilities'),
    ...(apparmorProfile && { apparmorProfile }),
    ...(seccompProfile && { seccompProfile }),
    noNewPrivileges: get('docker.no_new_privileges'),
    pidsLimit: get('docker.pids_limit'),
    sandboxEnv: get('docker.sandbox_env'),
    sandboxBinds: get('docker.sandbox_binds'),
    ...(ociRuntime && { ociRuntime }),
  }
}

// What a pod says to its sidecar: the environment of the contract (egress.md 7.1, v1.1.md 3), read whole. What has no meaning here is said
// once; what would make it less than it promises is refused, and so is what nobody knows: a typing error must not open anything.

import { isIP } from 'node:net'
import { checkNetworkPolicy, formatPolicyProblem, type NetworkPolicy } from '../../lib/api/network-policy.ts'
import { ConfigError } from '../../lib/config.ts'
import { messageOf } from '../../lib/errors.ts'
import { LOG_LEVELS, type LogLevel } from '../../lib/log.ts'
import { type DnsUpstream, parseDnsUpstream } from '../../lib/name-server.ts'
import type { RuleSets } from '../../lib/rule-sets.ts'

export type SidecarConfig = {
  sandboxId: string
  /** Absent: nobody may ask for anything but whether it is well. */
  token?: string
  listen: { host: string; port: number }
  /** Absent: nothing is allowed. */
  policy?: NetworkPolicy
  /** Where the policy is kept as it was last changed. */
  policyFile?: string
  logLevel?: LogLevel
  /** Whether requests may be read, so that secrets can be put in. */
  credentialProxy: boolean
  /** Where requests are read beside the ports of the configuration. */
  extraPorts: number[]
  upstreamCaFile?: string
  /** Empty: those of the pod. */
  nameServers: DnsUpstream[]
  /** Addresses that are closed whatever the policy says. */
  alwaysDeny: string[]
  /** Where the certificates lie that the workload is to trust. */
  trustDir: string
  warnings: string[]
}

const PREFIX = 'OPENSANDBOX_EGRESS_'
const DEFAULT_ID = 'pod'
const DEFAULT_PORT = 18_080
const TRUST_DIR = '/opt/opensandbox'
const MAX_EXTRA_PORTS = 15

const READ = [
  'RULES',
  'MODE',
  'HTTP_ADDR',
  'TOKEN',
  'POLICY_FILE',
  'LOG_LEVEL',
  'SANDBOX_ID',
  'DNS_UPSTREAM',
  'BLOCK_DOH_443',
  'DOH_BLOCKLIST',
  'MITMPROXY_TRANSPARENT',
  'MITMPROXY_EXTRA_PORTS',
  'MITMPROXY_UPSTREAM_EXTRA_CA',
  'MITMPROXY_SSL_INSECURE',
  'CREDENTIAL_VAULT_REQUIRE_TLS',
  'UPSTREAM_PROXY',
  'UPSTREAM_PROXY_AUTH',
  'TRUST_DIR',
  // Read with the configuration.
  'DENY_WEBHOOK',
]
/** Why what they ask for is not done. */
const WITHOUT_MEANING: Record<string, string> = {
  MAX_RULES: 'a policy may have 4096 rules',
  METRICS_EXTRA_ATTRS: 'set otel in the configuration',
  NAMESERVER_EXEMPT: 'every question is answered here, so that names are judged whatever server is asked',
  DNS_UPSTREAM_TIMEOUT: 'name servers are asked side by side',
  DNS_UPSTREAM_PROBE: 'name servers are judged by how they answer',
  DNS_UPSTREAM_PROBE_INTERVAL_SEC: 'name servers are judged by how they answer',
  MITMPROXY_PORT: 'the port is chosen at the start',
  MITMPROXY_SCRIPT: 'requests are read here, and not by mitmproxy',
  MITMPROXY_UPSTREAM_TRUST_DIR: 'set MITMPROXY_UPSTREAM_EXTRA_CA to a file',
  REDIRECT_BACKEND: 'packets are led by nftables',
  CREDENTIAL_VAULT_REQUIRE_SCOPED_MATCH: 'every binding names its hosts',
  CREDENTIAL_VAULT_TRUSTED_PROXY_CIDRS: 'the token says who may write',
}

/** Throws ConfigError with everything that is wrong. `sets` are those that rules may name. */
export function readSidecarConfig(
  env: Readonly<Record<string, string | undefined>>,
  sets?: RuleSets,
): SidecarConfig {
  const problems: string[] = []
  const warnings: string[] = []
  const get = (name: string) => {
    const value = env[PREFIX + name]?.trim()
    return value === '' ? undefined : value
  }
  const wrong = (name: string, allowed: string, found = get(name)) => {
    problems.push(`${PREFIX}${name} must be ${allowed}, but it is ${JSON.stringify(found?.slice(0, 80))}`)
  }
  for (const variable of Object.keys(env)) {
    const name = variable.startsWith(PREFIX) ? variable.slice(PREFIX.length) : undefined
    if (name === undefined || READ.includes(name) || get(name) === undefined) continue
    const why = WITHOUT_MEANING[name]
    if (why === undefined) problems.push(`There is no setting ${variable}`)
    else warnings.push(`${variable} has no effect: ${why}`)
  }

  const mode = get('MODE')
  const tokens = (mode ?? 'dns+nft').toLowerCase().split('+')
  const parts = tokens.map((part) => part.trim()).filter((part) => part !== '')
  if (parts.some((part) => part !== 'dns' && part !== 'nft') || !parts.includes('dns'))
    wrong('MODE', '"dns+nft" or "dns"')
  else if (!parts.includes('nft'))
    warnings.push(`${PREFIX}MODE "dns" filters names alone: packets are filtered all the same`)
  if (isTruthy(get('MITMPROXY_SSL_INSECURE')))
    problems.push(
      `${PREFIX}MITMPROXY_SSL_INSECURE cannot be set: a secret goes only to a server that has proved its name`,
    )
  if (isTruthy(get('CREDENTIAL_VAULT_REQUIRE_TLS')))
    problems.push(
      `${PREFIX}CREDENTIAL_VAULT_REQUIRE_TLS cannot be set: the API of a sidecar is served in the clear`,
    )
  if (get('UPSTREAM_PROXY') ?? get('UPSTREAM_PROXY_AUTH'))
    problems.push(`${PREFIX}UPSTREAM_PROXY cannot be set: connections go to their servers without a proxy`)

  const listen = parseListen(get('HTTP_ADDR') ?? `:${DEFAULT_PORT}`)
  if (!listen) wrong('HTTP_ADDR', '":port", "address:port" or "[address]:port"')
  const sandboxId = get('SANDBOX_ID') ?? DEFAULT_ID
  if (!/^[a-z0-9-]{1,63}$/.test(sandboxId)) wrong('SANDBOX_ID', '1 to 63 of a-z, 0-9 and "-"')
  const logLevel = get('LOG_LEVEL')?.toLowerCase()
  if (logLevel !== undefined && !isLogLevel(logLevel)) wrong('LOG_LEVEL', `one of ${LOG_LEVELS.join(', ')}`)

  const upstreams = listOf(get('DNS_UPSTREAM')).map(parseDnsUpstream)
  const nameServers = upstreams.filter((server) => server !== undefined)
  if (nameServers.length < upstreams.length)
    wrong('DNS_UPSTREAM', 'a list of addresses, "address:port", "tls://address#name" or "https://host/path"')
  const extraPorts = listOf(get('MITMPROXY_EXTRA_PORTS')).map((text) =>
    /^\d{1,5}$/.test(text) ? Number(text) : 0,
  )
  if (extraPorts.length > MAX_EXTRA_PORTS || extraPorts.some((port) => port < 1 || port > 65_535))
    wrong('MITMPROXY_EXTRA_PORTS', `a list of at most ${MAX_EXTRA_PORTS} ports`)
  const upstreamCaFile = get('MITMPROXY_UPSTREAM_EXTRA_CA')
  const alwaysDeny = isTruthy(get('BLOCK_DOH_443')) ? listOf(get('DOH_BLOCKLIST')) : []
  if (alwaysDeny.some((target) => !isAddressOrRange(target)))
    wrong('DOH_BLOCKLIST', 'a list of addresses and ranges')
  else if (isTruthy(get('BLOCK_DOH_443')) && alwaysDeny.length === 0)
    problems.push(
      `${PREFIX}BLOCK_DOH_443 needs addresses in ${PREFIX}DOH_BLOCKLIST: to close port 443 to everything, allow no name and no address`,
    )
  const policyFile = get('POLICY_FILE')
  if (policyFile !== undefined && !policyFile.startsWith('/')) wrong('POLICY_FILE', 'an absolute path')
  const policy = readRules(get('RULES'), sets, problems)
  const token = get('TOKEN')
  if (token === undefined)
    warnings.push(`${PREFIX}TOKEN is not set: nobody can ask for the policy or change it`)

  if (problems.length > 0) throw new ConfigError(problems)
  return {
    sandboxId,
    ...(token !== undefined && { token }),
    listen: listen ?? { host: '0.0.0.0', port: DEFAULT_PORT },
    ...(policy && { policy }),
    ...(policyFile !== undefined && { policyFile }),
    ...(logLevel !== undefined && isLogLevel(logLevel) && { logLevel }),
    credentialProxy: isTruthy(get('MITMPROXY_TRANSPARENT')),
    extraPorts,
    ...(upstreamCaFile !== undefined && { upstreamCaFile }),
    nameServers,
    alwaysDeny,
    trustDir: get('TRUST_DIR') ?? TRUST_DIR,
    warnings,
  }
}

function readRules(
  text: string | undefined,
  sets: RuleSets | undefined,
  problems: string[],
): NetworkPolicy | undefined {
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    problems.push(`${PREFIX}RULES must be a policy in JSON: ${messageOf(error)}`)
    return undefined
  }
  const checked = checkNetworkPolicy(value, sets)
  if ('policy' in checked) return checked.policy
  problems.push(`${PREFIX}RULES: ${formatPolicyProblem(checked)}`)
  return undefined
}

/** As Go writes where a server listens: without an address it is every one. */
function parseListen(text: string): { host: string; port: number } | undefined {
  const [, bracketed, plain = '', digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]*)):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  const host = bracketed ?? (plain === '' ? '0.0.0.0' : plain)
  return isIP(host) !== 0 && port >= 1 && port <= 65_535 ? { host, port } : undefined
}

function listOf(text = ''): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

function isAddressOrRange(text: string): boolean {
  const [address = '', prefix] = text.split('/')
  const version = isIP(address)
  return (
    version !== 0 &&
    (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128)))
  )
}

function isTruthy(text = ''): boolean {
  return ['1', 'true', 'yes', 'y', 'on'].includes(text.toLowerCase())
}

function isLogLevel(text: string): text is LogLevel {
  return (LOG_LEVELS as readonly string[]).includes(text)
}

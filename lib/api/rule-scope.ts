// Which protocols and ports a rule is about: `protocol` and `ports`, which the contract's rules do not have. A rule without them is
// about everything, so clients that know neither read and write what they always did.

export const RULE_PROTOCOLS = ['any', 'tcp', 'udp', 'icmp'] as const
export type RuleProtocol = (typeof RULE_PROTOCOLS)[number]

/** Both ends belong to it. */
export type PortRange = { first: number; last: number }

export type RuleScope = {
  protocol: RuleProtocol
  /** Sorted and without overlaps; absent for every port. With "any" they are those of TCP and UDP. */
  ports?: readonly PortRange[]
}
export const EVERYTHING: RuleScope = { protocol: 'any' }

/** What a packet or a connection is for. */
export type Endpoint = { protocol: string; port: number }

/** As a rule was written, which is how it is shown again. */
export type ScopeFields = { protocol?: RuleProtocol | undefined; ports?: (string | number)[] | undefined }

const MAX_PORTS = 64
const ALLOWED_PORTS = `a list of 1 to ${MAX_PORTS} ports and ranges, such as ["443", "8000-8100"]`

type Problem = { field: string; message: string }

/** What `protocol` and `ports` are easily written as: ignored as other fields are, it would open what was to stay closed. */
const NEARLY = /^(ports?|protocols?)$/i

/** The fields of a rule about a name or about addresses, or what is wrong with them. */
export function checkScope(
  rule: Record<string, unknown>,
  { isName, show }: { isName: boolean; show: (value: unknown) => string },
): ScopeFields | Problem {
  const { protocol, ports } = rule
  const slip = Object.keys(rule).find((key) => NEARLY.test(key) && key !== 'protocol' && key !== 'ports')
  if (slip !== undefined) return { field: slip, message: 'is no field of a rule: "protocol" and "ports" are' }
  const known = readProtocol(protocol)
  if (known === undefined)
    return {
      field: 'protocol',
      message: `must be one of ${RULE_PROTOCOLS.map((name) => `"${name}"`).join(', ')}, but it is ${show(protocol)}`,
    }
  if (isName && (known === 'udp' || known === 'icmp'))
    return {
      field: 'protocol',
      message: `must be "tcp" or "any" for a name, but it is "${known}": only TCP tells which name it is for, so open the addresses instead`,
    }
  const given: ScopeFields = protocol === undefined || protocol === null ? {} : { protocol: known }
  if (ports === undefined || ports === null) return given
  if (!Array.isArray(ports) || ports.length === 0 || ports.length > MAX_PORTS)
    return {
      field: 'ports',
      message: `must be ${ALLOWED_PORTS}, but it is ${Array.isArray(ports) ? `a list of ${ports.length}` : show(ports)}`,
    }
  if (known === 'icmp')
    return { field: 'ports', message: 'must be absent when protocol is "icmp", which has no ports' }
  const wrong = ports.find((port) => readPorts(port) === undefined)
  if (wrong !== undefined || ports.includes(undefined))
    return { field: 'ports', message: `must be ${ALLOWED_PORTS}, but ${show(wrong)} is among them` }
  return { ...given, ports: ports as (string | number)[] }
}

/** The scope of a rule whose fields were checked before. */
export function scopeOf({ protocol = 'any', ports }: ScopeFields): RuleScope {
  if (ports === undefined) return { protocol }
  return { protocol, ports: mergePorts(ports.flatMap((port) => readPorts(port) ?? [])) }
}

/** Whether a rule is about the endpoint. */
export function isWithin({ protocol, ports }: RuleScope, endpoint: Endpoint): boolean {
  const hasPorts = endpoint.protocol === 'tcp' || endpoint.protocol === 'udp'
  if (protocol !== 'any' && protocol !== endpoint.protocol) return false
  if (ports === undefined) return true
  return hasPorts && ports.some(({ first, last }) => endpoint.port >= first && endpoint.port <= last)
}

/** Sorted, with those that overlap or touch joined. */
export function mergePorts(ranges: readonly PortRange[]): PortRange[] {
  const merged: PortRange[] = []
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const before = merged.at(-1)
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last)
    else merged.push({ first, last })
  }
  return merged
}

/** For a person, such as "tcp 443, 8000-8100"; empty for a rule about everything. */
export function formatScope({ protocol, ports }: RuleScope): string {
  if (ports === undefined) return protocol === 'any' ? '' : protocol
  return `${protocol === 'any' ? 'port' : protocol} ${ports.map(formatPorts).join(', ')}`
}

/** One port, or `first-last`. */
export function formatPorts({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`
}

function readProtocol(value: unknown): RuleProtocol | undefined {
  if (value === undefined || value === null) return 'any'
  const name = typeof value === 'string' ? value.trim().toLowerCase() : undefined
  return RULE_PROTOCOLS.find((known) => known === name)
}

function readPorts(value: unknown): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(
    typeof value === 'number' ? String(value) : typeof value === 'string' ? value.trim() : '',
  )
  if (!match) return undefined
  const first = Number(match[1])
  const last = Number(match[2] ?? match[1])
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined
}

// Reads what clients send about a vault (contract: egress.md 6.1). Fields that are not known are refused: a misspelt one would make a
// binding wider than its author meant. A refusal names the field and never repeats a secret.

import { isRecord } from '../../lib/is-record.ts'
import { parsePathPattern } from './path.ts'
import { SUBSTITUTION_PLACES, type SubstitutionPlace, VAULT_SCHEMES } from './port.ts'
import { type Auth, type Binding, type Match, type Placeholder, vaultProblem } from './vault.ts'

export type GivenCredential = { name: string; value: string }
export type VaultRequestBody = { credentials: GivenCredential[]; bindings: Binding[] }
type Changes<T> = { add: T[]; replace: T[]; delete: string[] }
export type VaultMutation = {
  expectedRevision?: number
  credentials: Changes<GivenCredential>
  bindings: Changes<Binding>
}

const AUTH_TYPES = ['bearer', 'basic', 'apiKey', 'customHeaders', 'passthrough'] as const
/** Neither HEAD nor OPTIONS, which are asked before anybody means to use a secret. */
const DEFAULT_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']
const DEFAULT_PORTS = { http: 80, https: 443 }
const TOKEN = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const PLACEHOLDER = /^[\x21-\x7e]{4,256}$/
const MAX_NAME_LENGTH = 256
const MAX_LIST_LENGTH = 256
/** Headers that say how a request is carried, or from whom it came, and no secret (contract: egress.md 6.1). */
const RESERVED_HEADERS = new Set([
  'host',
  'content-length',
  'content-type',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'upgrade',
  'te',
  'trailer',
  'expect',
  'proxy-authorization',
  'proxy-authenticate',
  'proxy-connection',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
])

/** The ports at which connections are read are the operator's to name. */
export type ParseLimits = { ports: readonly number[] }

/** The body of a create. Throws 400. */
export function parseVault(body: string, limits: ParseLimits): VaultRequestBody {
  const fields = fieldsOf(parseJson(body), '', ['credentials', 'bindings'])
  return {
    credentials: listOf(fields.credentials, 'credentials', readCredential),
    bindings: listOf(fields.bindings, 'bindings', (value, at) => readBinding(value, at, limits)),
  }
}

/** The body of a change. Throws 400. */
export function parseMutation(body: string, limits: ParseLimits): VaultMutation {
  const fields = fieldsOf(parseJson(body), '', ['expectedRevision', 'credentials', 'bindings'])
  const { expectedRevision } = fields
  if (expectedRevision !== undefined && expectedRevision !== null && !isCount(expectedRevision))
    throw wrong('expectedRevision', 'a whole number', expectedRevision)
  return {
    ...(isCount(expectedRevision) && { expectedRevision }),
    credentials: readChanges(fields.credentials, 'credentials', readCredential),
    bindings: readChanges(fields.bindings, 'bindings', (value, at) => readBinding(value, at, limits)),
  }
}

function readChanges<T>(value: unknown, at: string, read: (value: unknown, at: string) => T): Changes<T> {
  const fields = fieldsOf(value ?? {}, at, ['add', 'replace', 'delete'])
  return {
    add: listOf(fields.add, `${at}.add`, read),
    replace: listOf(fields.replace, `${at}.replace`, read),
    delete: listOf(fields.delete, `${at}.delete`, readName),
  }
}

function readCredential(value: unknown, at: string): GivenCredential {
  const fields = fieldsOf(value, at, ['name', 'source'])
  const source = fieldsOf(fields.source, `${at}.source`, ['type', 'value'])
  const type = typeof source.type === 'string' ? source.type.trim() : source.type
  if (type !== undefined && type !== null && type !== '' && type !== 'inline')
    throw vaultProblem(`${at}.source.type must be "inline"`)
  if (typeof source.value !== 'string' || source.value === '')
    throw vaultProblem(`${at}.source.value must be a text that is not empty`)
  return { name: readName(fields.name, `${at}.name`), value: source.value }
}

function readBinding(value: unknown, at: string, limits: ParseLimits): Binding {
  const fields = fieldsOf(value, at, ['name', 'match', 'auth'])
  return {
    name: readName(fields.name, `${at}.name`),
    match: readMatch(fields.match, `${at}.match`, limits),
    auth: readAuth(fields.auth, `${at}.auth`),
  }
}

function readMatch(value: unknown, at: string, limits: ParseLimits): Match {
  const fields = fieldsOf(value, at, ['schemes', 'ports', 'hosts', 'methods', 'paths'])
  const schemes = listOf(fields.schemes, `${at}.schemes`, (scheme, where) => {
    const found = VAULT_SCHEMES.find((known) => known === textOf(scheme)?.toLowerCase())
    if (!found) throw wrong(where, 'one of "http", "https"', scheme)
    return found
  })
  const ports = listOf(fields.ports, `${at}.ports`, (port, where) => {
    if (!isCount(port) || !limits.ports.includes(port))
      throw wrong(where, `one of ${limits.ports.join(', ')}, where requests are read`, port)
    return port
  })
  const hosts = listOf(fields.hosts, `${at}.hosts`, readHost)
  if (hosts.length === 0) throw vaultProblem(`${at}.hosts must have at least one host`)
  const methods = listOf(fields.methods, `${at}.methods`, (method, where) => {
    const name = textOf(method)?.toUpperCase()
    if (name === undefined || !/^[A-Z]{1,32}$/.test(name) || name === 'CONNECT' || name === 'TRACE')
      throw wrong(where, 'a method of HTTP that is neither CONNECT nor TRACE', method)
    return name
  })
  const paths = listOf(fields.paths, `${at}.paths`, (path, where) => {
    const parsed = parsePathPattern(textOf(path) ?? '')
    if ('problem' in parsed) throw wrong(where, parsed.problem, path)
    return parsed.pattern
  })
  const all = { schemes: schemes.length > 0 ? schemes : (['https'] as const) }
  return {
    ...all,
    ports: ports.length > 0 ? ports : [...new Set(all.schemes.map((scheme) => DEFAULT_PORTS[scheme]))],
    hosts,
    methods: methods.length > 0 ? methods : DEFAULT_METHODS,
    paths: paths.length > 0 ? paths : ['/*'],
  }
}

function readHost(value: unknown, at: string): string {
  const text = (textOf(value) ?? '').toLowerCase().replace(/\.$/, '')
  const name = text.startsWith('*.') ? text.slice(2) : text
  const labels = name.split('.')
  const isName = name.length <= 253 && labels.length >= 2 && labels.every((label) => LABEL.test(label))
  // A last label of digits makes it an address.
  if (!isName || /^[0-9]+$/.test(labels.at(-1) ?? ''))
    throw wrong(at, 'a full host name such as "api.example.com", or "*." and one', value)
  return text
}

function readAuth(value: unknown, at: string): Auth {
  if (!isRecord(value)) throw wrong(at, 'an object with "type"', value)
  const type = AUTH_TYPES.find((known) => known === value.type)
  const substitutions = listOf(value.substitutions, `${at}.substitutions`, readSubstitution)
  const texts = substitutions.map(({ placeholder }) => placeholder)
  for (const [index, text] of texts.entries())
    if (texts.some((other, at) => at !== index && other.includes(text)))
      throw vaultProblem(
        `${at}.substitutions[${index}].placeholder must not be the same as another, or a part of it`,
      )
  const credential = (from: Record<string, unknown>) => readName(from.credential, `${at}.credential`)
  switch (type) {
    case 'bearer':
    case 'basic':
      return {
        type,
        credential: credential(fieldsOf(value, at, ['type', 'credential', 'substitutions'])),
        substitutions,
      }
    case 'apiKey': {
      const fields = fieldsOf(value, at, ['type', 'name', 'credential', 'substitutions'])
      return {
        type,
        name: readHeaderName(fields.name, `${at}.name`),
        credential: credential(fields),
        substitutions,
      }
    }
    case 'customHeaders': {
      const fields = fieldsOf(value, at, ['type', 'headers', 'substitutions'])
      return { type, headers: readHeaders(fields.headers, `${at}.headers`), substitutions }
    }
    case 'passthrough':
      fieldsOf(value, at, ['type', 'substitutions'])
      return { type, substitutions }
    default:
      throw wrong(`${at}.type`, `one of ${AUTH_TYPES.map((known) => `"${known}"`).join(', ')}`, value.type)
  }
}

function readHeaders(value: unknown, at: string): { name: string; credential: string }[] {
  const headers = listOf(value, at, (entry, where) => {
    const fields = fieldsOf(entry, where, ['name', 'credential'])
    return {
      name: readHeaderName(fields.name, `${where}.name`),
      credential: readName(fields.credential, `${where}.credential`),
    }
  })
  if (headers.length === 0) throw vaultProblem(`${at} must have at least one header`)
  const names = headers.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined)
    throw vaultProblem(`${at} must name each header once, but "${twice}" is named twice`)
  return headers
}

function readSubstitution(value: unknown, at: string): Placeholder {
  const fields = fieldsOf(value, at, ['credential', 'placeholder', 'in'])
  const { placeholder } = fields
  if (typeof placeholder !== 'string' || !PLACEHOLDER.test(placeholder))
    throw wrong(`${at}.placeholder`, '4 to 256 printable characters without spaces', placeholder)
  const places = listOf(fields.in, `${at}.in`, (place, where): SubstitutionPlace => {
    const found = SUBSTITUTION_PLACES.find((known) => known === place)
    if (!found)
      throw wrong(where, `one of ${SUBSTITUTION_PLACES.map((known) => `"${known}"`).join(', ')}`, place)
    return found
  })
  if (places.length === 0) throw vaultProblem(`${at}.in must have at least one place`)
  return { credential: readName(fields.credential, `${at}.credential`), placeholder, in: places }
}

/** In the usual spelling of headers: `PRIVATE-TOKEN` is `Private-Token`. */
function readHeaderName(value: unknown, at: string): string {
  const name = textOf(value) ?? ''
  if (!TOKEN.test(name) || name.length > MAX_NAME_LENGTH) throw wrong(at, 'the name of a header', value)
  if (RESERVED_HEADERS.has(name.toLowerCase()))
    throw vaultProblem(`${at} must not be a header that says how requests are carried, but it is "${name}"`)
  return name.toLowerCase().replace(/(^|-)([a-z])/g, (found) => found.toUpperCase())
}

function readName(value: unknown, at: string): string {
  const name = textOf(value) ?? ''
  if (name === '' || name.length > MAX_NAME_LENGTH)
    throw wrong(at, `a name of 1 to ${MAX_NAME_LENGTH} characters`, value)
  return name
}

/** A list without what is in it twice; absent is empty. */
function listOf<T>(value: unknown, at: string, read: (value: unknown, at: string) => T): T[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw wrong(at, 'a list', value)
  if (value.length > MAX_LIST_LENGTH)
    throw vaultProblem(`${at} must have at most ${MAX_LIST_LENGTH} entries, but it has ${value.length}`)
  return [...new Set(value.map((entry, index) => read(entry, `${at}[${index}]`)))]
}

function fieldsOf(value: unknown, at: string, known: readonly string[]): Record<string, unknown> {
  const where = at === '' ? 'the body' : at
  if (!isRecord(value))
    throw wrong(where, `an object with ${known.map((name) => `"${name}"`).join(', ')}`, value)
  const unknown = Object.keys(value).find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw vaultProblem(
      `${where} has the unknown field ${JSON.stringify(unknown.slice(0, 80))}: known are ${known.map((name) => `"${name}"`).join(', ')}`,
    )
  return value
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    // Without what the parser says: it quotes the text, which may be a secret.
    throw vaultProblem('the body is not valid JSON')
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value.trim() : undefined
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function wrong(at: string, wanted: string, found: unknown) {
  return vaultProblem(`${at} must be ${wanted}, but it is ${show(found)}`)
}

function show(value: unknown): string {
  if (value === undefined) return 'missing'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  const text = JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 77)}…"` : text
}

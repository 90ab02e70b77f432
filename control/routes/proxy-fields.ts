// What happens to header fields on their way through control: the same as in the gateway (gateway/relay/headers.ts), on the lines
// that Node gives. Pure.

import { confineField } from '../../lib/api/path-form.ts'
import {
  type InnerLocation,
  isMistakable,
  mayTrail,
  NEVER_BY_NAME,
  REQUEST_FIELDS,
  RESPONSE_FIELDS,
  rewriteLocation,
} from '../../lib/forwarding.ts'
import { type AddressRanges, type Client, clientOf, readClient } from '../../lib/hops.ts'

/** Names and values in turn, as Node has them in `rawHeaders`. */
export type RawFields = readonly string[]
/** As Node takes them: a name that came on several lines has several values. */
export type Fields = Record<string, string | string[]>

export type RequestPassage = {
  /** The `Host` that the sandbox sees. */
  inner: string
  /** The one that the client sent. */
  outer: string
  prefix: string
  client: Pick<Client, 'forwardedFor' | 'isEncrypted'>
}

const FRAMING: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding', 'expect'])

/** The fields that go to a sandbox. An upgrade is asked for unless `upgrade` is empty. */
export function formatRequestFields(raw: RawFields, passage: RequestPassage, upgrade = ''): Fields {
  const { inner, outer, prefix, client } = passage
  const scheme = client.isEncrypted ? 'https' : 'http'
  const named = namesOf(raw)
  let takesTrailers = false
  const kept = pairsOf(raw).filter(({ key, value }) => {
    if (key === 'te') takesTrailers ||= /(^|,)\s*trailers\s*(,|$)/i.test(value)
    if (FRAMING.has(key)) return upgrade === ''
    return !REQUEST_FIELDS.has(key) && !key.startsWith('x-forwarded-') && !named.has(key)
  })
  const connection = upgrade === '' ? ['close', ...(takesTrailers ? ['TE'] : [])] : ['Upgrade']
  return collect([
    ...pairsOf(['Host', inner]),
    ...kept,
    ...pairsOf(['X-Forwarded-For', client.forwardedFor, 'X-Forwarded-Proto', scheme]),
    ...pairsOf(['X-Forwarded-Host', outer]),
    ...pairsOf(['X-Forwarded-Prefix', prefix, 'Connection', connection.join(', ')]),
    ...pairsOf(upgrade === '' ? [] : ['Upgrade', upgrade]),
    ...pairsOf(takesTrailers && upgrade === '' ? ['TE', 'trailers'] : []),
  ])
}

/** Who asks, by what a proxy that is trusted says of it. No client speaks TLS to control itself. */
export function clientBehind(address: string, raw: RawFields, trusted: AddressRanges): Client {
  const origin = { address, isEncrypted: false, isTrusted: trusted.has(address) }
  return origin.isTrusted ? readClient(origin, pairsOf(raw), trusted) : clientOf(origin)
}

/** Whether a request has a field that programs behind take for one that decides something. */
export function findMistakable(raw: RawFields): string | undefined {
  return pairsOf(raw).find(({ key }) => isMistakable(key))?.name
}

/** The fields that go to the client. A length passes where it is one of the answer, or of what it would have been. */
export function formatAnswerFields(
  raw: RawFields,
  { status, location, extra = [] }: { status: number; location: InnerLocation; extra?: RawFields },
): Fields {
  const named = namesOf(raw)
  const hasLength = status >= 200 && status !== 204 && !hasField(raw, 'transfer-encoding')
  const pairs = pairsOf(raw).flatMap((pair) => {
    const { name, key, value } = pair
    if (key === 'content-length') return hasLength ? [pair] : []
    if (RESPONSE_FIELDS.has(key) || named.has(key)) return []
    const passed =
      key === 'location' ? rewriteLocation(value, location) : confineField(key, value, location.prefix)
    return passed === undefined ? [] : [{ name, key, value: passed }]
  })
  return collect([...pairs, ...pairsOf(extra)])
}

/** The trailers that pass. */
export function formatTrailers(raw: RawFields): [string, string][] {
  return pairsOf(raw).flatMap(({ name, key, value }): [string, string][] =>
    mayTrail(key) ? [[name, value]] : [],
  )
}

/** Fields as the lines of a head. */
export function formatLines(fields: Fields): string {
  return Object.entries(fields)
    .flatMap(([name, values]) => [values].flat().map((value) => `${name}: ${value}\r\n`))
    .join('')
}

export function hasField(raw: RawFields, wanted: string): boolean {
  return pairsOf(raw).some(({ key }) => key === wanted)
}

type Pair = { name: string; key: string; value: string }

function pairsOf(raw: RawFields): Pair[] {
  const pairs: Pair[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    pairs.push({ name, key: name.toLowerCase(), value: raw[at + 1] ?? '' })
  }
  return pairs
}

function collect(pairs: readonly Pair[]): Fields {
  const byKey = new Map<string, { name: string; values: string[] }>()
  for (const { name, key, value } of pairs) {
    const known = byKey.get(key)
    if (known) known.values.push(value)
    else byKey.set(key, { name, values: [value] })
  }
  return Object.fromEntries(
    [...byKey.values()].map(({ name, values }) => [name, values.length === 1 ? (values[0] ?? '') : values]),
  )
}

/** What `Connection` names, but for what it cannot take away. */
function namesOf(raw: RawFields): ReadonlySet<string> {
  return new Set(
    pairsOf(raw)
      .filter(({ key }) => key === 'connection')
      .flatMap(({ value }) => value.toLowerCase().split(','))
      .map((name) => name.trim())
      .filter((name) => !NEVER_BY_NAME.has(name)),
  )
}

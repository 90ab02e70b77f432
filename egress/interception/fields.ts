// What becomes of the fields of requests and answers on their way: whatever came in the place of a secret is taken out first, what one
// connection says to the next stays there, and no answer shows a secret. Pure.

import type { Field } from '../../lib/http1/fields.ts'
import type { Injection } from '../vault/port.ts'
import { substituteHeader } from '../vault/substitute.ts'
import { withoutEscapes } from '../vault/written.ts'
import { canonicalField, hyphenated } from './canonical-field.ts'
import { formatFields, type Line, type Problem, parseFields } from './http1-head.ts'
import { isOverride } from './overrides.ts'

export const REDACTED = '[REDACTED]'
/** For one connection only (RFC 9110 7.6.1). */
const OF_THE_CONNECTION = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'upgrade'])
/** To take one of these away changes what the message is. */
const NOT_TO_BE_NAMED = new Set(['host', 'content-length', 'transfer-encoding'])

/** What may not come after a body: servers that add it to the head would take it for how the request is carried, or who sends it. */
const OF_THE_HEAD = new Set([
  ...OF_THE_CONNECTION,
  ...NOT_TO_BE_NAMED,
  ...[
    'authorization',
    'content-encoding',
    'content-range',
    'content-type',
    'cookie',
    'expect',
    'forwarded',
    'trailer',
  ],
])
/** A shorter one is found in names that have nothing to do with it. */
const MIN_NAMED_SECRET = 6

type Carried = {
  /** What `Connection` names. */
  connection: readonly string[]
  injection: Injection | undefined
}

export function forwardedRequestFields(
  fields: readonly Field[],
  { connection, injection, isUpgrade }: Carried & { isUpgrade: boolean },
): Line[] | Problem {
  const all = endToEnd(fields, connection)
  if ('problem' in all) return all
  const kept = all.filter(({ key }) => !isTakenForCarriage(key))
  const forwarded = injection ? inject(kept, injection) : kept
  if (isUpgrade)
    forwarded.push({ name: 'Connection', value: 'Upgrade' }, { name: 'Upgrade', value: 'websocket' })
  return forwarded
}

export function forwardedResponseFields(
  fields: readonly Field[],
  { connection, injection, says }: Carried & { says: 'close' | 'Upgrade' | undefined },
): Line[] | Problem {
  const kept = endToEnd(fields, connection)
  if ('problem' in kept) return kept
  const forwarded = redactFields(kept, injection)
  if (says !== undefined) forwarded.push({ name: 'Connection', value: says })
  if (says === 'Upgrade')
    for (const { key, value } of fields) if (key === 'upgrade') forwarded.push({ name: 'Upgrade', value })
  return forwarded
}

/** Whether a field, by its underscores, could be taken for one that says how a message is carried. */
export function isTakenForCarriage(key: string): boolean {
  if (!key.includes('_')) return false
  const canonical = hyphenated(key)
  return OF_THE_CONNECTION.has(canonical) || NOT_TO_BE_NAMED.has(canonical)
}

/** Whether a field has no place after a body. */
export function isOfTheHead(name: string): boolean {
  const canonical = canonicalField(name)
  return OF_THE_HEAD.has(canonical) || isOverride(canonical)
}

/** Trailers of a request: a server may take them for fields of its head. */
export function forwardedTrailers(lines: string, injection: Injection | undefined): string | Problem {
  const fields = parseFields(lines)
  if ('problem' in fields) return fields
  const kept = fields.filter(({ name }) => !isOfTheHead(name))
  return formatFields(injection ? withoutInjected(kept, injection) : kept)
}

export function redactedTrailers(lines: string, injection: Injection | undefined): string | Problem {
  const fields = parseFields(lines)
  return 'problem' in fields ? fields : formatFields(redactFields(fields, injection))
}

export function redact(text: string, injection: Injection | undefined): string {
  if (!injection) return text
  let redacted = text
  for (const secret of injection.secrets) {
    if (secret === '') continue
    redacted = redacted.replaceAll(secret, REDACTED)
    const bytes = bytesOf(secret)
    if (bytes !== secret) redacted = redacted.replaceAll(bytes, REDACTED)
  }
  return holdsEscaped(redacted, injection) ? REDACTED : redacted
}

/** Whether the name of a field is a secret, or has one in it: it goes with its value. */
export function isNamedBySecret(name: string, injection: Injection): boolean {
  const small = name.toLowerCase()
  return injection.secrets.some(
    (secret) => secret.length >= MIN_NAMED_SECRET && small.includes(secret.toLowerCase()),
  )
}

/** Whether a secret is in it behind escapes of bytes. */
export function holdsEscaped(text: string, injection: Injection): boolean {
  if (!text.includes('%')) return false
  const plain = withoutEscapes(text)
  return injection.secrets.some((secret) => secret !== '' && plain.includes(bytesOf(secret)))
}

/** Each value by itself, so that several cookies stay several. */
function redactFields(lines: Line[], injection: Injection | undefined): Line[] {
  if (!injection) return lines
  return lines
    .filter(({ name }) => !isNamedBySecret(name, injection))
    .map(({ name, value }) => ({ name, value: redact(value, injection) }))
}

function inject(fields: readonly Field[], injection: Injection): Line[] {
  const kept: Line[] = withoutInjected(fields, injection)
  const forwarded = injection.substitutions.length > 0 ? substituted(kept, injection) : kept
  for (const [name, value] of injection.headers) forwarded.push({ name, value: bytesOf(value) })
  return forwarded
}

function substituted(lines: readonly Line[], injection: Injection): Line[] {
  // What came is bytes already; made into bytes again it would be something else.
  const substitutions = injection.substitutions.map((each) => ({ ...each, value: bytesOf(each.value) }))
  return lines.map(({ name, value }) => ({ name, value: substituteHeader(value, substitutions) }))
}

function withoutInjected(fields: readonly Field[], { headers }: Injection): Field[] {
  const names = headers.map(([name]) => canonicalField(name))
  return fields.filter(({ key }) => !names.includes(hyphenated(key)))
}

function endToEnd(fields: readonly Field[], named: readonly string[]): Field[] | Problem {
  for (const name of named)
    if (NOT_TO_BE_NAMED.has(name)) return { problem: `the field "Connection" must not name "${name}"` }
  return fields.filter(({ key }) => !OF_THE_CONNECTION.has(key) && !named.includes(key))
}

/** As it goes onto the wire: one character for each byte. */
export function bytesOf(text: string): string {
  return Buffer.byteLength(text) === text.length ? text : Buffer.from(text).toString('latin1')
}

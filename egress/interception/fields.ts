// What becomes of the fields of requests and answers on their way: whatever came in the place of a secret is taken out first, what one
// connection says to the next stays there, and no answer shows a secret. Pure.

import type { Injection } from '../vault/port.ts'
import { substituteHeader } from '../vault/substitute.ts'
import { withoutEscapes } from '../vault/written.ts'
import { type Field, formatFields, membersOf, type Problem, parseFields, valuesOf } from './http1-head.ts'
import { isOverride } from './overrides.ts'

export const REDACTED = '[REDACTED]'
const NO_SECRETS: readonly string[] = []
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

/** Servers behind gateways of the CGI kind see no difference between `X_Key` and `X-Key`. */
export function canonicalField(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

export function forwardedRequestFields(
  fields: readonly Field[],
  { injection, isUpgrade }: { injection: Injection | undefined; isUpgrade: boolean },
): Field[] | Problem {
  const kept = endToEnd(fields)
  if ('problem' in kept) return kept
  const forwarded = injection ? inject(kept, injection) : kept
  if (isUpgrade)
    forwarded.push({ name: 'Connection', value: 'Upgrade' }, { name: 'Upgrade', value: 'websocket' })
  return forwarded
}

export function forwardedResponseFields(
  fields: readonly Field[],
  { injection, connection }: { injection: Injection | undefined; connection?: 'close' | 'Upgrade' },
): Field[] | Problem {
  const kept = endToEnd(fields)
  if ('problem' in kept) return kept
  const forwarded = redactFields(kept, injection)
  if (connection !== undefined) forwarded.push({ name: 'Connection', value: connection })
  if (connection === 'Upgrade')
    for (const value of valuesOf(fields, 'upgrade')) forwarded.push({ name: 'Upgrade', value })
  return forwarded
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
  let redacted = text
  for (const secret of injection?.secrets ?? NO_SECRETS) {
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

function holdsEscaped(text: string, injection: Injection | undefined): boolean {
  if (!injection || !text.includes('%')) return false
  const plain = withoutEscapes(text)
  return injection.secrets.some((secret) => secret !== '' && plain.includes(bytesOf(secret)))
}

/** Each value by itself, so that several cookies stay several. */
function redactFields(fields: readonly Field[], injection: Injection | undefined): Field[] {
  if (!injection) return [...fields]
  return fields
    .filter(({ name }) => !isNamedBySecret(name, injection))
    .map(({ name, value }) => ({ name, value: redact(value, injection) }))
}

function inject(fields: readonly Field[], injection: Injection): Field[] {
  const kept = withoutInjected(fields, injection).map(({ name, value }) => ({
    name,
    value: bytesOf(substituteHeader(value, injection.substitutions)),
  }))
  return [...kept, ...injection.headers.map(([name, value]) => ({ name, value: bytesOf(value) }))]
}

function withoutInjected(fields: readonly Field[], { headers }: Injection): Field[] {
  const names = new Set(headers.map(([name]) => canonicalField(name)))
  return fields.filter(({ name }) => !names.has(canonicalField(name)))
}

function endToEnd(fields: readonly Field[]): Field[] | Problem {
  const named = membersOf(fields, 'connection')
  const wrong = named.find((name) => NOT_TO_BE_NAMED.has(name))
  if (wrong !== undefined) return { problem: `the field "Connection" must not name "${wrong}"` }
  return fields.filter(({ name }) => {
    const lower = name.toLowerCase()
    return !OF_THE_CONNECTION.has(lower) && !named.includes(lower)
  })
}

/** As it goes onto the wire: one character for each byte. */
function bytesOf(text: string): string {
  return /^[\x00-\x7f]*$/.test(text) ? text : Buffer.from(text).toString('latin1')
}

// What becomes of the fields of HTTP/2 on their way, as fields.ts says it of HTTP/1. Pure.

import type { RequestHead } from '../http2/head.ts'
import type { ReceivedField } from '../http2/hpack/decoder.ts'
import type { FieldToSend } from '../http2/hpack/encoder.ts'
import type { Injection } from '../vault/port.ts'
import { substituteHeader, substituteTarget } from '../vault/substitute.ts'
import { canonicalField } from './canonical-field.ts'
import { bytesOf, isNamedBySecret, isOfTheHead, isTakenForCarriage, redact } from './fields.ts'
import type { SecretFinder } from './secret-finder.ts'

/** Says something of the connection alone; what else does so is no part of HTTP/2. */
const SETTINGS = 'http2-settings'
const NO_NAMES: readonly string[] = []

export function forwardedHead(
  { method, scheme, path, authority, host, fields }: RequestHead,
  injection: Injection | undefined,
): FieldToSend[] {
  const target = injection ? substituteTarget(path, injection.substitutions) : path
  const forwarded: FieldToSend[] = [
    { name: ':method', value: method },
    { name: ':scheme', value: scheme },
    { name: ':authority', value: authority ?? host ?? '' },
    { name: ':path', value: target, isSensitive: target !== path },
  ]
  const taken = namesOf(injection)
  // What came is bytes already; made into bytes again it would be something else.
  const substitutions =
    injection?.substitutions.map((each) => ({ ...each, value: bytesOf(each.value) })) ?? []
  for (const field of fields) {
    const { name, value, isSensitive } = field
    if (name === SETTINGS || isTakenForCarriage(name) || isOneOf(taken, name)) continue
    if (substitutions.length === 0) forwarded.push(field)
    else {
      const substituted = substituteHeader(value, substitutions)
      forwarded.push({ name, value: substituted, isSensitive: isSensitive || substituted !== value })
    }
  }
  // Never put into the table by which both ends shorten what comes again.
  for (const [name, value] of injection?.headers ?? [])
    forwarded.push({ name: name.toLowerCase(), value: bytesOf(value), isSensitive: true })
  return forwarded
}

/** Of a request. */
export function forwardedTrailers(
  trailers: readonly ReceivedField[],
  injection: Injection | undefined,
): FieldToSend[] {
  const taken = namesOf(injection)
  return trailers.filter(({ name }) => name !== SETTINGS && !isOfTheHead(name) && !isOneOf(taken, name))
}

/** Of an answer, its trailers too: adds them to `forwarded`. Each value by itself, so that several cookies stay several. */
export function addRedacted(
  forwarded: FieldToSend[],
  fields: readonly ReceivedField[],
  { injection, secrets }: { injection: Injection | undefined; secrets: SecretFinder },
): FieldToSend[] {
  const found = injection && secrets.injectionIn(textOf(fields), injection)
  for (const field of fields) {
    const { name, value, isSensitive } = field
    if (name === 'te' || name === SETTINGS || (found && isNamedBySecret(name, found))) continue
    forwarded.push(found ? { name, value: redact(value, found), isSensitive } : field)
  }
  return forwarded
}

/** With borders between fields, so that nothing is found that stands in two of them. */
function textOf(fields: readonly ReceivedField[]): string {
  let text = ''
  for (const { name, value } of fields) text += `${name}\n${value}\n`
  return text
}

function namesOf(injection: Injection | undefined): readonly string[] {
  return injection ? injection.headers.map(([name]) => canonicalField(name)) : NO_NAMES
}

function isOneOf(names: readonly string[], name: string): boolean {
  return names.length > 0 && names.includes(canonicalField(name))
}

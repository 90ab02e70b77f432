// What becomes of the fields of HTTP/2 on their way, as fields.ts says it of HTTP/1. Pure.

import { type IncomingHttpHeaders, type OutgoingHttpHeaders, sensitiveHeaders } from 'node:http2'
import type { Injection } from '../vault/port.ts'
import { substituteHeader, substituteTarget } from '../vault/substitute.ts'
import { canonicalField, isNamedBySecret, isOfTheHead, isTakenForCarriage, redact } from './fields.ts'
import type { SecretFinder } from './secret-finder.ts'

/** What one connection says to the next, which HTTP/2 has no place for (RFC 9113 8.2.2). */
const OF_THE_CONNECTION = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

export function forwardedHeaders(
  headers: IncomingHttpHeaders,
  injection: Injection | undefined,
): OutgoingHttpHeaders {
  const forwarded = noFields()
  forwarded[':authority'] = headers[':authority'] ?? headers.host
  const taken = namesOf(injection)
  const substitutions = injection?.substitutions ?? []
  const substituted = (value: string) =>
    substitutions.length > 0 ? substituteHeader(value, substitutions) : value
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || name === 'host' || name === ':authority' || OF_THE_CONNECTION.has(name))
      continue
    if (name === 'te' && value !== 'trailers') continue
    if (isTakenForCarriage(name) || isOneOf(taken, name)) continue
    if (name.startsWith(':'))
      forwarded[name] = name === ':path' ? substituteTarget(String(value), substitutions) : value
    else forwarded[name] = Array.isArray(value) ? value.map(substituted) : substituted(String(value))
  }
  if (!injection) return forwarded
  const injected = injection.headers.map(([name]) => name.toLowerCase())
  for (const [name, value] of injection.headers) forwarded[name.toLowerCase()] = value
  // Never put into the table by which both ends shorten what comes again.
  return Object.assign(forwarded, { [sensitiveHeaders]: injected })
}

/** Of a request. */
export function forwardedTrailers(
  trailers: IncomingHttpHeaders,
  injection: Injection | undefined,
): OutgoingHttpHeaders {
  const forwarded = noFields()
  const taken = namesOf(injection)
  for (const name in trailers)
    if (!OF_THE_CONNECTION.has(name) && !isOfTheHead(name) && !isOneOf(taken, name))
      forwarded[name] = trailers[name]
  return forwarded
}

/** Of an answer, its trailers too. Each value by itself, so that several cookies stay several. */
export function redactedHeaders(
  headers: IncomingHttpHeaders,
  { injection, secrets }: { injection: Injection | undefined; secrets: SecretFinder },
): OutgoingHttpHeaders {
  const found = injection && secrets.injectionIn(textOf(headers), injection)
  const forwarded = noFields()
  for (const name in headers) {
    if (name === 'te' || OF_THE_CONNECTION.has(name)) continue
    const value = headers[name]
    if (!found) forwarded[name] = value
    else if (!isNamedBySecret(name, found))
      forwarded[name] = Array.isArray(value)
        ? value.map((each) => redact(each, found))
        : typeof value === 'string'
          ? redact(value, found)
          : value
  }
  return forwarded
}

/** Its names come from outside: none of them is one that objects know. */
function noFields(): OutgoingHttpHeaders {
  return Object.create(null)
}

/** With borders between fields, so that nothing is found that stands in two of them. */
function textOf(headers: IncomingHttpHeaders): string {
  let text = ''
  for (const name in headers) {
    const value = headers[name]
    text += `${name}\n${Array.isArray(value) ? value.join('\n') : value}\n`
  }
  return text
}

function namesOf(injection: Injection | undefined): readonly string[] {
  return injection ? injection.headers.map(([name]) => canonicalField(name)) : []
}

function isOneOf(names: readonly string[], name: string): boolean {
  return names.length > 0 && names.includes(canonicalField(name))
}

// Puts secrets in the place of the texts that stand for them, written as the place wants it (contract: v1.1.md 3). Pure.

import type { Substitution, SubstitutionPlace } from './port.ts'

/** Larger bodies are passed on as they are. */
export const MAX_SUBSTITUTED_BODY_BYTES = 1024 * 1024

/** Path and query of a request. */
export function substituteTarget(target: string, substitutions: readonly Substitution[]): string {
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  const replacedPath = replace(path, substitutions, 'path', encodeAll)
  if (query < 0) return replacedPath
  return `${replacedPath}?${replace(target.slice(query + 1), substitutions, 'query', encodeAll)}`
}

/** The value of a header. */
export function substituteHeader(value: string, substitutions: readonly Substitution[]): string {
  return replace(value, substitutions, 'header', (secret) => secret)
}

/** Whether a body of this kind is looked at; only then need it be held until it is whole. */
export function substitutesBody(
  substitutions: readonly Substitution[],
  { contentType, contentEncoding }: { contentType: string | undefined; contentEncoding: string | undefined },
): boolean {
  if (!substitutions.some((substitution) => substitution.in.includes('body'))) return false
  if (contentEncoding !== undefined && contentEncoding.trim().toLowerCase() !== 'identity') return false
  return !kindOf(contentType).startsWith('multipart/')
}

/** A whole body, as bytes: what is no text stays what it is. */
export function substituteBody(
  body: Buffer,
  substitutions: readonly Substitution[],
  contentType: string | undefined,
): Buffer {
  const kind = kindOf(contentType)
  const write =
    kind === 'application/x-www-form-urlencoded'
      ? (secret: string) => encodeAll(secret).replaceAll('%20', '+')
      : kind === 'application/json' || kind.endsWith('+json')
        ? (secret: string) => JSON.stringify(secret).slice(1, -1)
        : (secret: string) => secret
  // One character for each byte, so that bytes that are no UTF-8 come back as they were.
  const bytes = (secret: string) => Buffer.from(write(secret)).toString('latin1')
  return Buffer.from(replace(body.toString('latin1'), substitutions, 'body', bytes), 'latin1')
}

/** All in one pass: what is in a secret is not looked at again. */
function replace(
  text: string,
  substitutions: readonly Substitution[],
  place: SubstitutionPlace,
  write: (secret: string) => string,
): string {
  const here = substitutions.filter((substitution) => substitution.in.includes(place))
  if (here.length === 0) return text
  const values = new Map(here.map(({ placeholder, value }) => [placeholder, value]))
  const any = new RegExp([...values.keys()].map((text) => RegExp.escape(text)).join('|'), 'g')
  return text.replace(any, (found) => write(values.get(found) ?? found))
}

function encodeAll(secret: string): string {
  return encodeURIComponent(secret.toWellFormed()).replace(
    /[!'()*]/g,
    (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function kindOf(contentType: string | undefined): string {
  return (contentType ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

// What happens to header fields that pass through, in the gateway and in control's own proxy: which are about one connection, which
// are written anew, which no sandbox may see, and what an inner address is outside (contract: gateway.md 4, lifecycle.md 4.4,
// v1.1.md 1.5). Pure.

// 1: about one connection. 2: written anew. 4: never to a sandbox. 8: credentials.
export const CONNECTION = 1
export const ANEW = 2
export const OURS = 4
export const CREDENTIALS = 8

export const REQUEST_FIELDS: ReadonlyMap<string, number> = new Map([
  ['connection', CONNECTION],
  ['keep-alive', CONNECTION],
  ['proxy-connection', CONNECTION],
  ['proxy-authenticate', CONNECTION],
  ['proxy-authorization', CONNECTION],
  ['te', CONNECTION],
  ['trailer', CONNECTION],
  ['upgrade', CONNECTION],
  ['http2-settings', CONNECTION],
  ['transfer-encoding', ANEW],
  ['content-length', ANEW],
  ['host', ANEW],
  ['expect', ANEW],
  ['forwarded', ANEW],
  ['x-real-ip', ANEW],
  ['opensandbox-ingress-to', CONNECTION],
  ['open-sandbox-ingress', CONNECTION],
  ['open-sandbox-api-key', OURS],
  ['opensandbox-secure-access', OURS],
  ['opensandbox-access-renew', OURS],
  ['opensandbox-share', OURS],
  ['authorization', CREDENTIALS],
  ['cookie', CREDENTIALS],
])

export const RESPONSE_FIELDS: ReadonlyMap<string, number> = new Map([
  ['connection', CONNECTION],
  ['keep-alive', CONNECTION],
  ['proxy-connection', CONNECTION],
  ['proxy-authenticate', CONNECTION],
  ['te', CONNECTION],
  ['trailer', CONNECTION],
  ['upgrade', CONNECTION],
  ['transfer-encoding', ANEW],
  ['content-length', ANEW],
])

/** A name in `Connection` cannot take away what decides where a message goes or where its body ends. */
export const NEVER_BY_NAME: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'close',
  'keep-alive',
  'upgrade',
])

/**
 * Programs behind CGI, WSGI and their kin are told fields as variables, in which `X_Real_IP` and `X-Real-IP` are the same. So
 * a request cannot say with underscores what it must not, or what is read here, say with hyphens. Others, such as
 * `session_id`, are used and mean nothing here.
 */
const NOT_WITH_UNDERSCORES =
  /^(?:host|content-length|transfer-encoding|connection|upgrade|te|trailer|keep-alive|proxy-.*|http2-.*|expect|forwarded|x-forwarded-.*|x-real-ip|authorization|cookie|opensandbox-.*|open-sandbox-.*|x-execd-.*)$/

/** Whether a field of a request could be taken for one that decides something, by who cannot tell `_` from `-`. */
export function isMistakable(key: string): boolean {
  return key.includes('_') && NOT_WITH_UNDERSCORES.test(key.replaceAll('_', '-'))
}

const TRAILERS_REFUSED = new Set([
  'x-execd-access-token',
  'set-cookie',
  'location',
  'content-type',
  'content-encoding',
  'content-range',
  'cache-control',
  'range',
])

/** Whether a trailer may pass: nothing that a header field decides may be said again behind the body (RFC 9110 6.5.1). */
export function mayTrail(key: string): boolean {
  return (
    !isMistakable(key) &&
    !REQUEST_FIELDS.has(key) &&
    !RESPONSE_FIELDS.has(key) &&
    !key.startsWith('x-forwarded-') &&
    !key.startsWith('opensandbox-') &&
    !TRAILERS_REFUSED.has(key)
  )
}

/** What stands outside for an address that only the sandbox knows. */
export type InnerLocation = { inner: string; outer: string; prefix: string; isEncrypted: boolean }

/** What an address that only the sandbox knows is outside. */
export function rewriteLocation(value: string, { inner, outer, prefix, isEncrypted }: InnerLocation): string {
  if (/^\/(?![/\\])/.test(value)) return `${prefix}${value}`
  const own = `http://${inner}`
  if (!value.toLowerCase().startsWith(own.toLowerCase())) return value
  const rest = value.slice(own.length)
  if (rest !== '' && !/^[/?#]/.test(rest)) return value
  return `${isEncrypted ? 'https' : 'http'}://${outer}${prefix}${rest.startsWith('/') || prefix === '' ? rest : `/${rest}`}`
}

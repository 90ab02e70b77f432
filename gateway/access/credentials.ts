// What a request shows to be let in, and how it is taken out again before the request goes on: none of it is the sandbox's to
// know. An app's own query, cookies and header fields stay byte for byte. Pure.

import { SECURE_ACCESS_HEADER } from '../../lib/access.ts'
import { isShareId, SHARE_HEADER, SHARE_PARAMETER } from '../../lib/share-link.ts'
import type { RequestHead } from '../http1/head.ts'

export type Credentials = {
  /** The sandbox's token, as soon as its field is there, empty too. */
  token?: string
  /** A shared link's token, from its field or from the address. */
  link?: string
  /** Whether the link's token stands in the address. */
  isInAddress: boolean
  /** What a browser was given for links. */
  cookies: ShareCookie[]
}

/** What a browser was given for the link of this id. */
export type ShareCookie = { id: string; secret: string }

const TOKEN_FIELD = SECURE_ACCESS_HEADER.toLowerCase()
const LINK_FIELD = SHARE_HEADER.toLowerCase()
/**
 * With the id of the link, so that several links to one port do not push each other out. By `__Host-` a browser takes it from this
 * very host alone, which works only where the connection is encrypted.
 */
const COOKIE_NAME = 'opensandbox-share-'
const SECURE_PREFIX = '__Host-'
const COOKIE = /^(?:__Host-)?opensandbox-share-([^=]*)=(.*)$/
const PARAMETER = `${SHARE_PARAMETER}=`

export function readCredentials(head: RequestHead, target: string): Credentials {
  const credentials: Credentials = { isInAddress: false, cookies: [] }
  for (const { key, value } of head.fields) {
    if (key === TOKEN_FIELD) credentials.token ??= value.trim()
    else if (key === LINK_FIELD) credentials.link ??= value.trim()
    else if (key === 'cookie' && value.includes(COOKIE_NAME)) credentials.cookies.push(...readCookies(value))
  }
  if (credentials.link === undefined && target.includes(PARAMETER)) {
    const found = queryOf(target).find((part) => part.startsWith(PARAMETER))
    if (found !== undefined) {
      credentials.link = found.slice(PARAMETER.length)
      credentials.isInAddress = true
    }
  }
  return credentials
}

/** A target without the link's token. */
export function withoutLink(target: string): string {
  if (!target.includes(PARAMETER)) return target
  const at = target.indexOf('?')
  const kept = queryOf(target).filter((part) => !part.startsWith(PARAMETER))
  return target.slice(0, at) + (kept.length > 0 ? `?${kept.join('&')}` : '')
}

/** The value of a `Cookie` field without what is ours; empty when nothing else is in it. */
export function withoutShareCookies(value: string): string {
  if (!value.includes(COOKIE_NAME)) return value
  return value
    .split(';')
    .filter((part) => !COOKIE.test(part.trim()))
    .join(';')
    .trim()
}

/** The complete line that gives a browser what opens a link's port, until the link ends. */
export function formatShareCookie(
  { id, secret }: ShareCookie,
  { maxAgeSeconds, isEncrypted }: { maxAgeSeconds: number; isEncrypted: boolean },
): string {
  const name = `${isEncrypted ? SECURE_PREFIX : ''}${COOKIE_NAME}${id}`
  return `Set-Cookie: ${name}=${secret}; Path=/; Max-Age=${maxAgeSeconds}; HttpOnly; SameSite=Lax${isEncrypted ? '; Secure' : ''}\r\n`
}

function readCookies(value: string): ShareCookie[] {
  return value.split(';').flatMap((part) => {
    const [, id, secret] = COOKIE.exec(part.trim()) ?? []
    return id !== undefined && secret !== undefined && isShareId(id) ? [{ id, secret }] : []
  })
}

function queryOf(target: string): string[] {
  const at = target.indexOf('?')
  return at < 0 ? [] : target.slice(at + 1).split('&')
}

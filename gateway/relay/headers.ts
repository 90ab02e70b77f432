// What happens to header fields on their way through. Fields that are about one connection, and those that `Connection`
// names, end here in both directions; what a client says about how it came here is replaced by what is known; what is the
// gateway's or control's never reaches a sandbox (contract: gateway.md 4, lifecycle.md 4.4, v1.1.md 1.5). Pure.

import { confineField } from '../../lib/api/path-form.ts'
import {
  ANEW,
  CONNECTION,
  CREDENTIALS,
  type InnerLocation,
  mayTrail,
  NEVER_BY_NAME,
  OURS,
  REQUEST_FIELDS,
  RESPONSE_FIELDS,
  rewriteLocation,
} from '../../lib/forwarding.ts'
import type { Client } from '../../lib/hops.ts'
import type { Field } from '../../lib/http1/fields.ts'
import { type Framing, isEmpty } from '../../lib/http1/framing.ts'
import { withoutShareCookies } from '../access/credentials.ts'
import type { RequestHead, ResponseHead } from '../http1/head.ts'
import type { SandboxAddress } from '../routing/host.ts'

export type { InnerLocation }

/** How a request goes on: what its receiver is told beside what the client sent. */
export type Passage = {
  to: 'control' | 'sandbox'
  /** The receiver's target: raw path and query. */
  target: string
  /** The `Host` that the receiver sees. */
  host: string
  /** The path form's prefix, which is also put before the paths of redirects; empty otherwise. */
  prefix: string
  client: Client
  /** The path form shares one origin, so one cookie jar, among all sandboxes: credentials do not pass (lifecycle.md 4.4). */
  dropCredentials: boolean
}

export type ResponsePassage = {
  /** The `Host` that the sandbox saw and clients cannot reach, and what stands for it outside. */
  location?: InnerLocation
  /** Complete lines to add. */
  extra: string
  close: boolean
  /** The client speaks HTTP/1.0: it is told when the connection stays open, and is sent no chunks. */
  minor: 0 | 1
}

/** The head that goes to control or a sandbox. */
export function formatRequestHead(head: RequestHead, passage: Passage): string {
  const { to, prefix, client } = passage
  const never =
    CONNECTION | ANEW | (to === 'sandbox' ? OURS : 0) | (passage.dropCredentials ? CREDENTIALS : 0)
  const named = namesOf(head.connection)
  let text = `${head.method} ${passage.target} HTTP/1.1\r\nHost: ${passage.host}\r\n`
  let trailers = false
  for (const { name, key, value } of head.fields) {
    if (((REQUEST_FIELDS.get(key) ?? 0) & never) !== 0) {
      trailers ||= key === 'te' && /(^|,)\s*trailers\s*(,|$)/i.test(value)
      continue
    }
    if (key.startsWith('x-forwarded-') || named?.includes(key)) continue
    const kept = key === 'cookie' && to === 'sandbox' ? withoutShareCookies(value) : value
    if (kept !== '' || value === '') text += `${name}: ${kept}\r\n`
  }
  text += `X-Forwarded-For: ${client.forwardedFor}\r\nX-Forwarded-Proto: ${client.isEncrypted ? 'https' : 'http'}\r\nX-Forwarded-Host: ${client.forwardedHost ?? head.host}\r\n`
  if (prefix !== '') text += `X-Forwarded-Prefix: ${prefix}\r\n`
  if (head.expectsContinue) text += 'Expect: 100-continue\r\n'
  text += formatFraming(head.framing)
  if (head.upgrade !== undefined) return `${text}Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n\r\n`
  return trailers ? `${text}Connection: TE\r\nTE: trailers\r\n\r\n` : `${text}\r\n`
}

/** The head that goes to the client. `framing` is what the client gets, which may differ from what the sandbox sent. */
export function formatResponseHead(head: ResponseHead, framing: Framing, passage: ResponsePassage): string {
  const { location, close, minor } = passage
  let text = startResponse(head)
  const named = namesOf(head.connection)
  for (const { name, key, value } of head.fields) {
    if (RESPONSE_FIELDS.has(key)) {
      // Of an answer without a body the length still tells what the body would have been.
      if (key === 'content-length' && framing.kind === 'none' && head.status !== 204)
        text += `${name}: ${value}\r\n`
      continue
    }
    if (named?.includes(key)) continue
    const passed = location ? rewriteField(key, value, location) : value
    if (passed !== undefined) text += `${name}: ${passed}\r\n`
  }
  text += passage.extra
  if (framing.kind === 'length' || framing.kind === 'chunked') text += formatFraming(framing)
  if (close) return `${text}Connection: close\r\n\r\n`
  return minor === 0 ? `${text}Connection: keep-alive\r\n\r\n` : `${text}\r\n`
}

/** The head of an answer before the final one: 100, 102, 103. */
export function formatInterimHead(head: ResponseHead, prefix = ''): string {
  return `${startResponse(head)}${keptFields(head, prefix)}\r\n`
}

/** The head that ends HTTP on this connection. */
export function formatUpgradeHead(head: ResponseHead, prefix = ''): string {
  return `${startResponse(head)}${keptFields(head, prefix)}Connection: Upgrade\r\nUpgrade: ${head.upgrade ?? ''}\r\n\r\n`
}

/** Whether a field may come behind a body. */
export function mayBeTrailer({ key }: Field): boolean {
  return mayTrail(key)
}

/** The `Host` under which a sandbox's own server knows itself. */
export function formatInnerHost(address: string, { port }: SandboxAddress): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** What a field of an answer says outside, by another address than the sandbox knows; undefined when it says too much there. */
function rewriteField(key: string, value: string, location: InnerLocation): string | undefined {
  if (key === 'location') return rewriteLocation(value, location)
  return location.prefix === '' ? value : confineField(key, value, location.prefix)
}

function keptFields(head: ResponseHead, prefix: string): string {
  const named = namesOf(head.connection)
  let text = ''
  for (const { name, key, value } of head.fields) {
    if (RESPONSE_FIELDS.has(key) || named?.includes(key)) continue
    const passed = prefix === '' ? value : confineField(key, value, prefix)
    if (passed !== undefined) text += `${name}: ${passed}\r\n`
  }
  return text
}

function startResponse({ status, reason }: ResponseHead): string {
  return `HTTP/1.1 ${status} ${reason}\r\n`
}

function formatFraming(framing: Framing): string {
  if (framing.kind === 'chunked') return 'Transfer-Encoding: chunked\r\n'
  return framing.kind === 'length' ? `Content-Length: ${framing.length}\r\n` : ''
}

function namesOf(connection: readonly string[]): readonly string[] | undefined {
  if (connection.length === 0) return undefined
  const names = connection.filter((name) => !NEVER_BY_NAME.has(name))
  return names.length > 0 ? names : undefined
}

/** Whether a request may be sent again on another connection when it was perhaps received: it changes nothing. */
export function isRepeatable({ method, framing }: RequestHead): boolean {
  return (method === 'GET' || method === 'HEAD' || method === 'OPTIONS') && isEmpty(framing)
}

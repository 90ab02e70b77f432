// Reading the heads of HTTP/1.1 messages (RFC 9112), strictly: two readers that understand one head differently are how a
// request is smuggled past the first of them, so whatever could be read in two ways is refused and never repaired. Pure.
// A head comes as latin1 text with its final empty line, one character per byte, so that bytes pass through unchanged.

import {
  bad,
  type Field,
  type HeadProblem,
  IS_TOKEN,
  IS_VALUE,
  readFields,
  readList,
} from '../../lib/http1/fields.ts'
import { type Framing, frameRequest, frameResponse, isEmpty } from '../../lib/http1/framing.ts'
import { isHost } from '../../lib/http1/host.ts'

export type RequestHead = {
  method: string
  /** In origin form, or `*`; raw bytes as sent. An absolute form is taken apart into `host` and this. */
  target: string
  minor: 0 | 1
  fields: Field[]
  host: string
  framing: Framing
  keepAlive: boolean
  /** Lower case names of the fields that `Connection` lists. */
  connection: readonly string[]
  /** What the client wants to switch to: only when `Connection` names `upgrade` and the request has no body. */
  upgrade: string | undefined
  expectsContinue: boolean
}

export type ResponseHead = {
  status: number
  reason: string
  minor: 0 | 1
  fields: Field[]
  framing: Framing
  keepAlive: boolean
  connection: readonly string[]
  upgrade?: string
}

export const MAX_HEAD_BYTES = 64 * 1024
export const MAX_TARGET_BYTES = 16 * 1024

const HEAD_END = Buffer.from('\r\n\r\n')
const NO_NAMES: readonly string[] = []

const LF = 10
const CR = 13
const SPACE = 32

/** Where the head ends that begins at `start`, after its empty line; -1 while the end has not come. */
export function findHeadEnd(bytes: Buffer, start: number): number {
  const at = bytes.indexOf(HEAD_END, start)
  return at < 0 ? -1 : at + 4
}

/** What is already known to be wrong with a head whose end has not come, so that nobody waits for the deadline. */
export function checkUnfinishedHead(bytes: Buffer, scanned: number): HeadProblem | undefined {
  const first = bytes[0]
  if (first === 0x16) return bad('this port speaks HTTP, not HTTPS')
  if (first !== undefined && first !== CR && IS_TOKEN[first] !== 1)
    return bad('the request line must begin with a method')
  if (bytes.length > MAX_HEAD_BYTES) return tooLarge()
  for (let at = bytes.indexOf(LF, scanned); at >= 0; at = bytes.indexOf(LF, at + 1))
    if (at === 0 || bytes[at - 1] !== CR) return bad('lines must end with CR LF, but one ends with LF alone')
  return undefined
}

/** Reads a request's head. */
export function parseRequestHead(text: string): RequestHead | HeadProblem {
  if (text.length > MAX_HEAD_BYTES) return tooLarge()
  let at = 0
  while (IS_TOKEN[text.charCodeAt(at)] === 1) at++
  if (at === 0 || text.charCodeAt(at) !== SPACE) return bad('the request line must begin with a method')
  const method = text.slice(0, at)
  const targetStart = ++at
  for (; ; at++) {
    const code = text.charCodeAt(at)
    if (code > SPACE && code !== 127 && code < 256) continue
    break
  }
  if (at === targetStart || text.charCodeAt(at) !== SPACE)
    return bad('the request line must be a method, a target and a version, separated by single spaces')
  if (at - targetStart > MAX_TARGET_BYTES)
    return { status: 414, problem: `the target is longer than ${MAX_TARGET_BYTES} bytes` }
  const rawTarget = text.slice(targetStart, at)
  at++
  const minor = text.startsWith('HTTP/1.1\r\n', at) ? 1 : text.startsWith('HTTP/1.0\r\n', at) ? 0 : undefined
  if (minor === undefined) {
    return /^HTTP\/\d\.\d\r\n/.test(text.slice(at, at + 10))
      ? { status: 505, problem: 'only HTTP/1.1 and HTTP/1.0 are spoken here' }
      : bad('the request line must end with HTTP/1.1 or HTTP/1.0')
  }

  const fields: Field[] = []
  const problem = readFields(text, at + 10, fields, true)
  if (problem) return problem
  let host: string | undefined
  let length: string | undefined
  let coding: string | undefined
  let connection = NO_NAMES
  let upgrade: string | undefined
  let expectsContinue = false
  for (const { key, value } of fields) {
    switch (key) {
      case 'host':
        if (host !== undefined) return bad('the field Host must come once, but it comes twice')
        host = value
        break
      case 'content-length':
        if (length !== undefined) return bad('the field Content-Length must come once, but it comes twice')
        length = value
        break
      case 'transfer-encoding':
        if (coding !== undefined) return bad('the field Transfer-Encoding must come once, but it comes twice')
        coding = value
        break
      case 'connection':
        connection = connection === NO_NAMES ? readList(value) : [...connection, ...readList(value)]
        break
      case 'upgrade':
        upgrade = upgrade === undefined ? value : `${upgrade}, ${value}`
        break
      case 'expect':
        if (value.toLowerCase() !== '100-continue')
          return { status: 417, problem: 'the field Expect may only be 100-continue' }
        expectsContinue = true
        break
    }
  }
  const framing = frameRequest(length, coding, minor)
  if ('problem' in framing) return framing
  const address = readTarget(method, rawTarget, host)
  if ('problem' in address) return address
  const wantsUpgrade = upgrade !== undefined && minor === 1 && connection.includes('upgrade')
  return {
    method,
    target: address.target,
    minor,
    fields,
    host: address.host,
    framing,
    keepAlive: connection === NO_NAMES ? minor === 1 : staysOpen(minor, connection),
    connection,
    upgrade: wantsUpgrade && isEmpty(framing) ? upgrade : undefined,
    expectsContinue: expectsContinue && minor === 1,
  }
}

/** Reads an answer's head. `method` is the request's, which decides whether there is a body at all. */
export function parseResponseHead(text: string, method: string): ResponseHead | HeadProblem {
  if (text.length > MAX_HEAD_BYTES) return tooLarge()
  const minor = text.startsWith('HTTP/1.1 ') ? 1 : text.startsWith('HTTP/1.0 ') ? 0 : undefined
  if (minor === undefined) return bad('the status line must begin with HTTP/1.1 or HTTP/1.0')
  const status = readStatus(text)
  const end = text.indexOf('\r', 12)
  if (status === undefined || text.charCodeAt(end + 1) !== LF)
    return bad('the status line must have a status from 100 to 599')
  const next = text.charCodeAt(12)
  if (next !== SPACE && next !== CR) return bad('the status must be followed by a space')
  for (let at = 12; at < end; at++)
    if (IS_VALUE[text.charCodeAt(at)] !== 1) return bad('the reason holds a control character')

  const fields: Field[] = []
  const problem = readFields(text, end + 2, fields)
  if (problem) return problem
  let length: string | undefined
  let coding: string | undefined
  let connection = NO_NAMES
  let upgrade: string | undefined
  for (const { key, value } of fields) {
    switch (key) {
      case 'content-length':
        if (length !== undefined) return bad('the field Content-Length must come once, but it comes twice')
        length = value
        break
      case 'transfer-encoding':
        if (coding !== undefined) return bad('the field Transfer-Encoding must come once, but it comes twice')
        coding = value
        break
      case 'connection':
        connection = connection === NO_NAMES ? readList(value) : [...connection, ...readList(value)]
        break
      case 'upgrade':
        upgrade = value
        break
    }
  }
  const framing = frameResponse({ status, method, length, coding, minor })
  if ('problem' in framing) return framing
  return {
    status,
    reason: text.slice(13, end),
    minor,
    fields,
    framing,
    keepAlive: connection === NO_NAMES ? minor === 1 : staysOpen(minor, connection),
    connection,
    ...(upgrade !== undefined && { upgrade }),
  }
}

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i

function readTarget(
  method: string,
  raw: string,
  host: string | undefined,
): { target: string; host: string } | HeadProblem {
  if (host === undefined) return bad('the field Host is required')
  if (!isHost(host)) return bad('the field Host must be a name or an address, with a port or without')
  if (raw.includes('#')) return bad('the target must not hold a fragment')
  if (raw.charCodeAt(0) === 47) return { target: raw, host }
  if (method === 'CONNECT') return { status: 405, problem: 'CONNECT is not served here' }
  if (raw === '*')
    return method === 'OPTIONS' ? { target: raw, host } : bad('only OPTIONS may have the target "*"')
  const absolute = ABSOLUTE.exec(raw)
  const authority = absolute?.[1] ?? ''
  if (!absolute || !isHost(authority)) return bad('the target must be a path that begins with "/"')
  // RFC 9112 3.2.2 lets what the absolute form names count, and the Host field that came with it not. Who reads the field
  // first would lead the request elsewhere, so they must agree.
  if (authority.toLowerCase() !== host.toLowerCase())
    return bad('the field Host and the target must name the same host')
  const rest = absolute[2] ?? ''
  return { target: rest.startsWith('/') ? rest : `/${rest}`, host: authority }
}

function readStatus(text: string): number | undefined {
  const a = text.charCodeAt(9) - 48
  const b = text.charCodeAt(10) - 48
  const c = text.charCodeAt(11) - 48
  const isNumber = a >= 1 && a <= 5 && b >= 0 && b <= 9 && c >= 0 && c <= 9
  return isNumber ? a * 100 + b * 10 + c : undefined
}

function staysOpen(minor: 0 | 1, connection: readonly string[]): boolean {
  if (connection.includes('close')) return false
  return minor === 1 || connection.includes('keep-alive')
}

function tooLarge(): HeadProblem {
  return { status: 431, problem: `the head is larger than ${MAX_HEAD_BYTES} bytes` }
}

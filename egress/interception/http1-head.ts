// The heads of HTTP/1 messages (RFC 9112), read so strictly that no other reader can see anything else in them. Pure.

import { type Field, IS_VALUE, readFields, readList } from '../../lib/http1/fields.ts'
import { type Framing, frameRequest, frameResponse } from '../../lib/http1/framing.ts'

/** A field as it is written. */
export type Line = Pick<Field, 'name' | 'value'>

export type RequestHead = {
  method: string
  target: string
  minor: 0 | 1
  fields: readonly Field[]
  /** Undefined: there is none, or more than one. */
  host: string | undefined
  framing: Framing
  /** Small letters, as in `upgrade`. */
  connection: readonly string[]
  upgrade: readonly string[]
  /** The client may be waiting to be asked for the body; who speaks HTTP/1.0 does not (RFC 9110 10.1.1). */
  expectsContinue: boolean
}

export type ResponseHead = {
  status: number
  reason: string
  minor: 0 | 1
  fields: readonly Field[]
  /** What comes more than once has no length. */
  length: string | undefined
  coding: string | undefined
  connection: readonly string[]
}

/** `status`: which one a client is told, if not 400. */
export type Problem = { problem: string; status?: number }

export const MAX_HEAD_BYTES = 65_536
const REQUEST_LINE = /^([A-Z][A-Z-]{0,31}) ([\x21\x22\x24-\x7e]+) HTTP\/1\.([01])$/
const NO_NAMES: readonly string[] = []
const STATUS_AT = 'HTTP/1.1 '.length
const REASON_AT = STATUS_AT + 3

/** `text` is all of it, to the end of the empty line, one character for each byte. */
export function parseRequestHead(text: string): RequestHead | Problem {
  const end = text.indexOf('\r\n')
  const [, method, target, minorText] = REQUEST_LINE.exec(text.slice(0, end)) ?? []
  if (method === undefined || target === undefined)
    return { problem: 'the request does not begin as HTTP/1 does' }
  const minor = minorText === '0' ? 0 : 1
  const fields: Field[] = []
  const problem = readFields(text, end + 2, fields)
  if (problem) return problem
  let host: string | undefined
  let hosts = 0
  let length: string | undefined
  let coding: string | undefined
  let connection = NO_NAMES
  let upgrade = NO_NAMES
  let expectsContinue = false
  for (const { key, value } of fields)
    switch (key) {
      case 'host':
        host = value
        hosts++
        break
      case 'content-length':
        if (length !== undefined) return { problem: 'the request has two lengths' }
        length = value
        break
      case 'transfer-encoding':
        if (coding !== undefined) return { problem: 'the request has two transfer codings' }
        coding = value
        break
      case 'connection':
        connection = joined(connection, value)
        break
      case 'upgrade':
        upgrade = joined(upgrade, value)
        break
      case 'expect':
        expectsContinue = minor === 1
        break
    }
  const framing = frameRequest(length, coding, minor)
  if ('problem' in framing) return framing
  if (hosts > 1) host = undefined
  return { method, target, minor, fields, host, framing, connection, upgrade, expectsContinue }
}

export function parseResponseHead(text: string): ResponseHead | Problem {
  const minor = text.startsWith('HTTP/1.1 ') ? 1 : text.startsWith('HTTP/1.0 ') ? 0 : undefined
  const status = statusIn(text)
  const end = text.indexOf('\r\n')
  if (minor === undefined || status === undefined || !isReason(text, end))
    return { problem: 'the answer does not begin as HTTP/1 does' }
  const fields: Field[] = []
  const problem = readFields(text, end + 2, fields)
  if (problem) return problem
  let length: string | undefined
  let coding: string | undefined
  let connection = NO_NAMES
  for (const { key, value } of fields)
    switch (key) {
      case 'content-length':
        if (length !== undefined) return { problem: 'the answer has two lengths' }
        length = value
        break
      case 'transfer-encoding':
        if (coding !== undefined) return { problem: 'the answer has two transfer codings' }
        coding = value
        break
      case 'connection':
        connection = joined(connection, value)
        break
    }
  return { status, reason: text.slice(REASON_AT + 1, end), minor, fields, length, coding, connection }
}

/** How the end of the body is known of a request of which only this is asked. */
export function requestFraming({ minor, fields }: Pick<RequestHead, 'minor' | 'fields'>): Framing | Problem {
  const lengths = valuesOf(fields, 'content-length')
  const codings = valuesOf(fields, 'transfer-encoding')
  if (lengths.length > 1 || codings.length > 1) return { problem: 'the request has two lengths' }
  return frameRequest(lengths[0], codings[0], minor)
}

/** How the end of the body is known of the answer to a request by this method. */
export function responseFraming(
  { status, minor, length, coding }: Omit<ResponseHead, 'fields' | 'reason' | 'connection'>,
  method: string,
): Framing | Problem {
  return frameResponse({ status, method, length, coding, minor })
}

/** Lines of fields, each with its line end. */
export function parseFields(text: string): Field[] | Problem {
  const fields: Field[] = []
  return readFields(`${text}\r\n`, 0, fields) ?? fields
}

export function formatRequestHead(
  { method, target, minor }: Pick<RequestHead, 'method' | 'target' | 'minor'>,
  lines: readonly Line[],
): string {
  return `${method} ${target} HTTP/1.${minor}\r\n${formatFields(lines)}\r\n`
}

export function formatResponseHead(
  { status, reason }: { status: number; reason: string },
  lines: readonly Line[],
): string {
  return `HTTP/1.1 ${status} ${reason}\r\n${formatFields(lines)}\r\n`
}

export function formatFields(lines: readonly Line[]): string {
  let text = ''
  for (const { name, value } of lines) text += `${name}: ${value}\r\n`
  return text
}

/** The values of a field, in their order. */
export function valuesOf(fields: readonly Field[], wanted: string): string[] {
  const values: string[] = []
  for (const { key, value } of fields) if (key === wanted) values.push(value)
  return values
}

/** The first value of a field. */
export function firstOf(fields: readonly Field[], wanted: string): string | undefined {
  for (const { key, value } of fields) if (key === wanted) return value
  return undefined
}

function joined(members: readonly string[], value: string): readonly string[] {
  return members === NO_NAMES ? readList(value) : [...members, ...readList(value)]
}

function statusIn(text: string): number | undefined {
  let status = 0
  for (let at = STATUS_AT; at < REASON_AT; at++) {
    const digit = text.charCodeAt(at) - 48
    if (!(digit >= 0 && digit <= 9)) return undefined
    status = status * 10 + digit
  }
  return status >= 100 ? status : undefined
}

/** Nothing, or what comes after a blank and ends no line. */
function isReason(text: string, end: number): boolean {
  if (end === REASON_AT) return true
  if (text.charCodeAt(REASON_AT) !== 0x20) return false
  for (let at = REASON_AT + 1; at < end; at++) if (IS_VALUE[text.charCodeAt(at)] !== 1) return false
  return true
}

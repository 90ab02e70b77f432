// Heads of HTTP/2 (RFC 9113 8.2 and 8.3): what is said by pseudo fields, and whether all of it is well-formed. Pure.

import { type Field, IS_TOKEN, IS_VALUE } from '../../lib/http1/fields.ts'
import type { ReceivedField } from './hpack/decoder.ts'

export type RequestHead = {
  method: string
  scheme: string
  path: string
  /** Of `:authority`, or what stands in its place. */
  authority: string | undefined
  /** Of the field `host`. */
  host: string | undefined
  /** Without pseudo fields and `host`. */
  fields: readonly ReceivedField[]
  /** Of its body, if it says that. */
  length: number | undefined
}

export type AnswerHead = { status: number; fields: readonly ReceivedField[]; length: number | undefined }

export type Malformed = { problem: string }

const COLON = 58
const SPACE = 32
const TAB = 9
/** What HTTP/2 has no place for (RFC 9113 8.2.2). */
const OF_THE_CONNECTION = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])
// A bit for each, to see what comes twice.
const METHOD = 1
const SCHEME = 2
const PATH = 4
const AUTHORITY = 8
const PSEUDO: ReadonlyMap<string, number> = new Map([
  [':method', METHOD],
  [':scheme', SCHEME],
  [':path', PATH],
  [':authority', AUTHORITY],
])
const NO_FIELD = { name: '', value: '' }
const LENGTH = /^\d{1,15}$/

/** `isCut`: it was too long, and this is its beginning, where even the path may be missing. */
export function readRequestHead(
  all: readonly ReceivedField[],
  { isCut = false } = {},
): RequestHead | Malformed {
  let method = ''
  let scheme = ''
  let path = ''
  let authority: string | undefined
  let seen = 0
  let at = 0
  for (; at < all.length; at++) {
    const { name, value } = all[at] ?? NO_FIELD
    if (name.charCodeAt(0) !== COLON) break
    const bit = PSEUDO.get(name)
    if (bit === undefined) return { problem: 'there is a pseudo field that has no meaning here' }
    if ((seen & bit) !== 0) return { problem: `${name} comes twice` }
    if (!isValue(value)) return { problem: `${name} holds characters that are not allowed` }
    seen |= bit
    if (bit === METHOD) method = value
    else if (bit === SCHEME) scheme = value
    else if (bit === PATH) path = value
    else authority = value
  }
  if (method === '' && !isCut) return { problem: 'there is no method' }
  if (method !== 'CONNECT' && (scheme === '' || path === '') && !isCut)
    return { problem: 'there is no scheme or no path' }
  const read = readFields(all, at)
  if ('problem' in read) return read
  return { method, scheme, path, authority, ...read }
}

export function readAnswerHead(all: readonly ReceivedField[]): AnswerHead | Malformed {
  const [first] = all
  if (first?.name !== ':status' || !/^[1-9]\d\d$/.test(first.value)) return { problem: 'there is no status' }
  const read = readFields(all, 1)
  if ('problem' in read) return read
  const { fields, length } = read
  return { status: Number(first.value), fields, length }
}

export function readTrailers(all: readonly ReceivedField[]): readonly ReceivedField[] | Malformed {
  for (const field of all) {
    const problem = problemOf(field)
    if (problem !== undefined) return { problem }
  }
  return all
}

function readFields(
  all: readonly ReceivedField[],
  start: number,
): { fields: ReceivedField[]; length: number | undefined; host: string | undefined } | Malformed {
  const fields: ReceivedField[] = []
  let length: number | undefined
  let host: string | undefined
  for (let at = start; at < all.length; at++) {
    const field = all[at]
    if (!field) continue
    const problem = problemOf(field)
    if (problem !== undefined) return { problem }
    const { name, value } = field
    if (name === 'host') {
      if (host !== undefined) return { problem: 'the field "host" comes twice' }
      host = value
      continue
    }
    if (name === 'content-length') {
      if (length !== undefined || !LENGTH.test(value)) return { problem: 'there is no proper length' }
      length = Number(value)
    }
    fields.push(field)
  }
  return { fields, length, host }
}

/** Also finds pseudo fields, as none of them is a token. */
function problemOf({ name, value }: Field): string | undefined {
  if (!isName(name)) return 'a field has a name that is not allowed'
  if (!isValue(value)) return 'a field has a value that is not allowed'
  if (OF_THE_CONNECTION.has(name)) return `the field "${name}" has no place in HTTP/2`
  if (name === 'te' && value.toLowerCase() !== 'trailers')
    return 'the field "te" holds something else than "trailers"'
  return undefined
}

function isName(name: string): boolean {
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at)
    if (IS_TOKEN[code] !== 1 || (code >= 65 && code <= 90)) return false
  }
  return name !== ''
}

function isValue(value: string): boolean {
  const { length } = value
  if (length === 0) return true
  if (isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(length - 1))) return false
  for (let at = 0; at < length; at++) if (IS_VALUE[value.charCodeAt(at)] !== 1) return false
  return true
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB
}

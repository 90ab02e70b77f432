// The heads of HTTP/1 messages (RFC 9112), read so strictly that no other reader can see anything else in them. Pure.

export type Field = { name: string; value: string }

export type RequestHead = { method: string; target: string; minor: 0 | 1; fields: Field[] }

export type ResponseHead = { status: number; reason: string; minor: 0 | 1; fields: Field[] }

export type Problem = { problem: string }

/** How the end of a body is known (RFC 9112 6.3). */
export type Framing = { by: 'nothing' } | { by: 'length'; length: number } | { by: 'chunks' } | { by: 'end' }

export const MAX_HEAD_BYTES = 65_536
export const HEAD_END = '\r\n\r\n'
const REQUEST_LINE = /^([A-Z][A-Z-]{0,31}) ([\x21\x22\x24-\x7e]+) HTTP\/1\.([01])$/
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const LENGTH = /^\d{1,15}$/

/** `text` is all of it, to the end of the empty line, one character for each byte. */
export function parseRequestHead(text: string): RequestHead | Problem {
  const { first, rest } = splitHead(text)
  const [, method, target, minor] = REQUEST_LINE.exec(first) ?? []
  if (method === undefined || target === undefined)
    return { problem: 'the request does not begin as HTTP/1 does' }
  const fields = parseFields(rest)
  return 'problem' in fields ? fields : { method, target, minor: minor === '0' ? 0 : 1, fields }
}

export function parseResponseHead(text: string): ResponseHead | Problem {
  const { first, rest } = splitHead(text)
  const [, minor, status, reason = ''] = STATUS_LINE.exec(first) ?? []
  if (status === undefined) return { problem: 'the answer does not begin as HTTP/1 does' }
  const fields = parseFields(rest)
  return 'problem' in fields
    ? fields
    : { status: Number(status), reason, minor: minor === '0' ? 0 : 1, fields }
}

/** Lines of fields, each with its line end. */
export function parseFields(text: string): Field[] | Problem {
  const fields: Field[] = []
  if (text === '') return fields
  for (const line of text.slice(0, -2).split('\r\n')) {
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(colon, 0))
    const value = withoutBlanks(line.slice(colon + 1))
    if (!TOKEN.test(name) || !VALUE.test(value)) return { problem: 'a field of the head is not proper' }
    fields.push({ name, value })
  }
  return fields
}

export function formatRequestHead({ method, target, minor, fields }: RequestHead): string {
  return `${method} ${target} HTTP/1.${minor}\r\n${formatFields(fields)}\r\n`
}

export function formatResponseHead({ status, reason, fields }: ResponseHead): string {
  return `HTTP/1.1 ${status} ${reason}\r\n${formatFields(fields)}\r\n`
}

export function formatFields(fields: readonly Field[]): string {
  let text = ''
  for (const { name, value } of fields) text += `${name}: ${value}\r\n`
  return text
}

/** The values of a field, in their order. */
export function valuesOf(fields: readonly Field[], name: string): string[] {
  const values: string[] = []
  for (const field of fields)
    if (field.name.length === name.length && field.name.toLowerCase() === name) values.push(field.value)
  return values
}

/** The members of a list such as `Connection`, in small letters. */
export function membersOf(fields: readonly Field[], name: string): string[] {
  return valuesOf(fields, name)
    .flatMap((value) => value.split(','))
    .map((member) => member.trim().toLowerCase())
    .filter((member) => member !== '')
}

export function requestFraming({ minor, fields }: Pick<RequestHead, 'minor' | 'fields'>): Framing | Problem {
  const lengths = valuesOf(fields, 'content-length')
  const codings = valuesOf(fields, 'transfer-encoding')
  if (codings.length > 0) return byCodings('request', { minor, lengths, codings })
  return lengths.length === 0 ? { by: 'nothing' } : byLength(lengths)
}

export function responseFraming(
  { status, minor, fields }: Pick<ResponseHead, 'status' | 'minor' | 'fields'>,
  method: string,
): Framing | Problem {
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD') return { by: 'nothing' }
  const lengths = valuesOf(fields, 'content-length')
  const codings = valuesOf(fields, 'transfer-encoding')
  if (codings.length > 0) return byCodings('answer', { minor, lengths, codings })
  return lengths.length === 0 ? { by: 'end' } : byLength(lengths)
}

function byCodings(
  what: 'request' | 'answer',
  { minor, lengths, codings }: { minor: 0 | 1; lengths: readonly string[]; codings: readonly string[] },
): Framing | Problem {
  if (lengths.length > 0) return { problem: `the ${what} has two lengths` }
  if (minor === 0 || codings.length > 1 || codings[0]?.toLowerCase() !== 'chunked')
    return { problem: `the ${what} has a transfer coding other than "chunked"` }
  return { by: 'chunks' }
}

function byLength(lengths: readonly string[]): Framing | Problem {
  const [length = ''] = lengths
  if (lengths.length > 1) return { problem: 'the message has two lengths' }
  if (!LENGTH.test(length)) return { problem: 'the message has no proper length' }
  return length === '0' ? { by: 'nothing' } : { by: 'length', length: Number(length) }
}

/** Without the blanks around it. An expression for those at the end would look at a run of blanks once for every blank in it. */
function withoutBlanks(text: string): string {
  let from = 0
  let to = text.length
  while (from < to && isBlank(text.charCodeAt(from))) from++
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

function splitHead(text: string): { first: string; rest: string } {
  const end = text.indexOf('\r\n')
  return { first: text.slice(0, end), rest: text.slice(end + 2, -2) }
}

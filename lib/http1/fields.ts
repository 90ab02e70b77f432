// The lines of a head or of a trailer section, one field each (RFC 9112 5), and what they are made of. Pure.

import { isMistakable } from '../forwarding.ts'

export type Field = {
  name: string
  /** The name in lower case. */
  key: string
  value: string
}

/** Why a head is refused, and with which status. */
export type HeadProblem = { problem: string; status: number }

export const MAX_FIELDS = 128

const TAB = 9
const LF = 10
const CR = 13
const SPACE = 32
const COLON = 58

const UNDERSCORE = 95

/** 1 for the bytes of a token: field names and methods (RFC 9110 5.6.2). */
export const IS_TOKEN = new Uint8Array(256)
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
  IS_TOKEN[char.charCodeAt(0)] = 1
/** 1 for the bytes of a field value: everything but control characters, and the tab. */
export const IS_VALUE = new Uint8Array(256).fill(1, SPACE).fill(1, TAB, TAB + 1)
IS_VALUE[127] = 0

/** The same without the underscore, which is looked at on its own. */
const IS_NAME = IS_TOKEN.slice()
IS_NAME[UNDERSCORE] = 0

/** Whether a text is a field's name, as a whole. */
export function isFieldName(text: string): boolean {
  return text !== '' && isAllOf(text, IS_TOKEN)
}

/** Whether a text can be a field's value: nothing in it ends a line. */
export function isFieldValue(text: string): boolean {
  return isAllOf(text, IS_VALUE)
}

function isAllOf(text: string, table: Uint8Array): boolean {
  for (let at = 0; at < text.length; at++) if (table[text.charCodeAt(at)] !== 1) return false
  return true
}

/** Reads the lines of a trailer section, whose text ends with the empty line. */
export function parseTrailers(text: string): Field[] | HeadProblem {
  const fields: Field[] = []
  return readFields(text, 0, fields) ?? fields
}

/** Reads fields from `start` to the end of the text, which must be the empty line behind them. */
export function readFields(
  text: string,
  start: number,
  fields: Field[],
  isRequest = false,
): HeadProblem | undefined {
  const { length } = text
  let at = start
  for (;;) {
    if (text.charCodeAt(at) === CR && text.charCodeAt(at + 1) === LF)
      return at + 2 === length ? undefined : bad('there are bytes behind the empty line')
    const nameStart = at
    while (IS_NAME[text.charCodeAt(at)] === 1) at++
    const hasUnderscore = text.charCodeAt(at) === UNDERSCORE
    if (hasUnderscore) while (IS_TOKEN[text.charCodeAt(at)] === 1) at++
    if (at === nameStart || text.charCodeAt(at) !== COLON) return describeBadName(text, nameStart, at)
    const name = text.slice(nameStart, at)
    at++
    let code = text.charCodeAt(at)
    while (code === SPACE || code === TAB) code = text.charCodeAt(++at)
    const valueStart = at
    while (IS_VALUE[code] === 1) code = text.charCodeAt(++at)
    if (code !== CR || text.charCodeAt(at + 1) !== LF)
      return bad('a field value holds a control character, or its line does not end with CR LF')
    let valueEnd = at
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd--
    const key = name.toLowerCase()
    if (hasUnderscore && isRequest && isMistakable(key))
      return bad('a field name with underscores could be taken for another with hyphens')
    fields.push({ name, key, value: text.slice(valueStart, valueEnd) })
    if (fields.length > MAX_FIELDS)
      return { status: 431, problem: `there are more than ${MAX_FIELDS} fields` }
    at += 2
  }
}

function describeBadName(text: string, start: number, at: number): HeadProblem {
  if (at === start && isBlank(text.charCodeAt(at)))
    return bad('a field goes on in a second line, which is not allowed')
  if (isBlank(text.charCodeAt(at))) return bad('there is a space between a field name and its colon')
  return bad('a field name holds a character that is not allowed, or has no colon')
}

/** What a field lists, in lower case. */
export function readList(value: string): string[] {
  const list = value.toLowerCase()
  // As most that are read for each request.
  if (list === 'keep-alive' || list === 'close') return [list]
  return list
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB
}

export function bad(problem: string): HeadProblem {
  return { status: 400, problem }
}

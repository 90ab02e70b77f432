// What the routes of files read from a query. Names of files need not be UTF-8, and a query carries bytes.

import { execdError } from '../http/answer.ts'
import { decodeName } from './name.ts'

/** All values of a parameter that names files. `url` is the request's own: the parser of queries has lost what is not UTF-8. */
export function pathValues(query: URLSearchParams, name: string, url: string | undefined): string[] {
  const values = query.getAll(name)
  if (!values.some((value) => value.includes('\ufffd'))) return values
  return (url ?? '')
    .slice((url ?? '').indexOf('?') + 1)
    .split('&')
    .map((pair) => /^([^=]*)=?(.*)$/s.exec(pair) ?? [])
    .filter(([, key = '']) => decodeBytes(key) === name)
    .map(([, , value = '']) => decodeBytes(value))
}

export function integerValue(query: URLSearchParams, name: string, min: number): number | undefined {
  const text = query.get(name)
  if (text === null || text === '') return undefined
  const value = /^\d{1,15}$/.test(text) ? Number(text) : -1
  if (value < min)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"${name}" must be an integer from ${min} on: found "${text.slice(0, 50)}"`,
    )
  return value
}

export function booleanValue(query: URLSearchParams, name: string): boolean {
  const text = query.get(name)
  if (text === null || text === '' || text === 'false') return false
  if (text === 'true') return true
  throw execdError('INVALID_REQUEST_BODY', `"${name}" must be true or false: found "${text.slice(0, 50)}"`)
}

/** One of `allowed`, or undefined when the query does not say. */
export function choiceValue<T extends string>(
  query: URLSearchParams,
  name: string,
  allowed: readonly T[],
): T | undefined {
  const text = query.get(name)
  if (text === null || text === '') return undefined
  const found = allowed.find((value) => value === text)
  if (found === undefined)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"${name}" must be one of ${allowed.join(', ')}: found "${text.slice(0, 50)}"`,
    )
  return found
}

function decodeBytes(text: string): string {
  const bytes = text
    .replaceAll('+', ' ')
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return decodeName(Buffer.from(bytes, 'latin1'))
}

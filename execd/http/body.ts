// Reading JSON requests the way the clients send them (contract: execd.md 0.3): any content type, keys in any case, null
// means absent, unknown keys are ignored. What is wrong is named with its field.

import type { IncomingMessage } from 'node:http'
import { isRecord } from '../../lib/is-record.ts'
import { execdError } from './answer.ts'
import { findExcess, type ShapeLimits } from './json-shape.ts'

/** Code of a few megabytes is a body like any other; what it costs to read grows with its values, not with their length. */
const MAX_BODY_BYTES = 8 << 20
const BODY_DEADLINE_MS = 60_000

/** A request for one thing. Its largest parts are the arguments and variables of a program, of which the kernel takes no more. */
const OF_ONE: ShapeLimits = { maxDepth: 64, maxValues: 40_000, maxMembers: 20_000 }
/** A request for many files: as many as an upload may have, each with up to five values. */
export const OF_FILES: ShapeLimits = { maxDepth: 8, maxValues: 140_000, maxMembers: 20_000 }

export type Body = Record<string, unknown>

/** The JSON value of a request's body. */
export async function readJson(request: IncomingMessage, limits = OF_ONE): Promise<unknown> {
  const value = parseJson(await readBytes(request), limits)
  if (value === undefined) throw execdError('INVALID_REQUEST_BODY', 'The body is empty: JSON is needed')
  return value
}

/** The JSON object of a request's body. */
export async function readObject(request: IncomingMessage, limits = OF_ONE): Promise<Body> {
  return asObject(await readJson(request, limits), 'The body')
}

/** The same where a body may be left out: nothing and null are an object without fields. */
export async function readOptionalObject(request: IncomingMessage): Promise<Body> {
  return asObject(parseJson(await readBytes(request), OF_ONE) ?? {}, 'The body')
}

/** Undefined when there is nothing but white space. */
function parseJson(bytes: Buffer, limits: ShapeLimits): unknown {
  const excess = findExcess(bytes, limits)
  if (excess !== undefined) throw execdError('INVALID_REQUEST_BODY', excess)
  const text = bytes.toString('utf8')
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch (error) {
    throw execdError('INVALID_REQUEST_BODY', 'The body is not valid JSON', error)
  }
}

export function asObject(value: unknown, name: string): Body {
  if (isRecord(value)) return value as Body
  throw wrong(name, 'a JSON object', value)
}

/** The value of a field, its name in any case; null counts as absent. */
export function field(body: Body, name: string): unknown {
  if (Object.hasOwn(body, name)) return body[name] ?? undefined
  const key = keysByName(body).get(name)
  return key === undefined ? undefined : (body[key] ?? undefined)
}

/** The keys of bodies by their names in lower case. Listed once: a body may have a million of them, and each field asks. */
const listed = new WeakMap<Body, Map<string, string>>()

function keysByName(body: Body): Map<string, string> {
  let keys = listed.get(body)
  if (!keys) {
    keys = new Map()
    // Of several that differ in case alone, the first.
    for (const key of Object.keys(body)) if (!keys.has(key.toLowerCase())) keys.set(key.toLowerCase(), key)
    listed.set(body, keys)
  }
  return keys
}

export function optionalText(body: Body, name: string): string | undefined {
  const value = field(body, name)
  if (value === undefined) return undefined
  return checkText(value, name)
}

/** A text without NUL bytes, which no system call takes. */
export function checkText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw wrong(name, 'a text', value)
  if (value.includes('\0')) throw execdError('INVALID_REQUEST_BODY', `"${name}" has a NUL byte`)
  return value
}

export function optionalInteger(body: Body, name: string, max = Number.MAX_SAFE_INTEGER): number | undefined {
  const value = field(body, name)
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max)
    throw wrong(name, `an integer from 0 to ${max}`, value)
  return value
}

export function optionalBoolean(body: Body, name: string): boolean | undefined {
  const value = field(body, name)
  if (value === undefined) return undefined
  if (typeof value !== 'boolean') throw wrong(name, 'true or false', value)
  return value
}

/** A refusal that names the field, what is allowed, and the kind of value that was found. */
export function wrong(name: string, allowed: string, value: unknown): Error {
  const shown = typeof value === 'number' || typeof value === 'boolean' ? String(value) : kindOf(value)
  return execdError(
    'INVALID_REQUEST_BODY',
    `${name.includes(' ') ? name : `"${name}"`} must be ${allowed}: found ${shown}`,
  )
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : 'a text'
}

function readBytes(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const fail = (error: Error) => {
      clearTimeout(timer)
      request.off('data', take)
      reject(error)
    }
    const take = (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > MAX_BODY_BYTES)
        fail(execdError('INVALID_REQUEST_BODY', `The body is larger than ${MAX_BODY_BYTES} bytes`))
      else chunks.push(chunk)
    }
    const timer = setTimeout(
      () => fail(execdError('INVALID_REQUEST_BODY', `The body did not arrive within ${BODY_DEADLINE_MS} ms`)),
      BODY_DEADLINE_MS,
    )
    request.on('data', take)
    request.once('end', () => {
      clearTimeout(timer)
      resolve(chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks))
    })
    request.once('close', () => fail(execdError('INVALID_REQUEST_BODY', 'The body was cut off')))
  })
}

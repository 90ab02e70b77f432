// Reading a request: its body as JSON of a schema, bounded in size and time, and its query. What is wrong with either is
// answered 422 with the fields named and nothing of the input repeated (contract: lifecycle.md 1.3, v1.1.md 8).

import type { Context } from 'hono'
import type { z } from 'zod'
import { describeIssues, type IssueDetail, summarizeIssues } from '../lib/api/lifecycle-coerce.ts'
import { refusal } from './errors.ts'

export const MAX_BODY_BYTES = 1024 * 1024
const BODY_TIMEOUT_MS = 20_000

/** The body, checked. With `optional`, a request without one counts as `{}`. */
export async function readBody<Schema extends z.ZodType>(
  context: Context,
  schema: Schema,
  { optional = false } = {},
): Promise<z.output<Schema>> {
  const bytes = await readBytes(context)
  if (bytes.byteLength === 0) {
    if (!optional) throw invalid([{ type: 'missing', loc: ['body'], msg: 'a JSON body is required' }])
    return check(schema, {}, 'body')
  }
  const type = (context.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  if (!/^application\/([\w.!#$&^-]+\+)?json$/.test(type))
    throw invalid([
      {
        type: 'content_type',
        loc: ['body'],
        msg: 'the Content-Type must be application/json or end with +json',
      },
    ])
  return check(schema, parseJson(bytes), 'body')
}

/** The whole body, at most MAX_BODY_BYTES. */
export async function readBytes(context: Context): Promise<Uint8Array> {
  const announced = Number(context.req.header('content-length') ?? 0)
  if (announced > MAX_BODY_BYTES) throw tooLarge()
  const stream = context.req.raw.body
  if (!stream) return new Uint8Array()
  const reader = stream.getReader()
  const chunks: Uint8Array[] = []
  let size = 0
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    // Ends the read below; the stream is not used again.
    reader.cancel().catch(() => {})
  }, BODY_TIMEOUT_MS)
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      size += part.value.byteLength
      if (size > MAX_BODY_BYTES) throw tooLarge()
      chunks.push(part.value)
    }
  } finally {
    clearTimeout(timer)
    reader.releaseLock()
  }
  if (isLate)
    throw refusal(
      'GENERAL::REQUEST_TIMEOUT',
      `The body did not arrive within ${BODY_TIMEOUT_MS / 1000} seconds`,
    )
  return Buffer.concat(chunks)
}

/** The query's parameters, checked; of a repeated one the last counts. */
export function readQuery<Schema extends z.ZodType>(context: Context, schema: Schema): z.output<Schema> {
  return check(schema, Object.fromEntries(queryOf(context)), 'query')
}

/** The query's parameters as they came, decoded once. */
export function queryOf(context: Context): URLSearchParams {
  return new URL(context.req.url).searchParams
}

function check<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: 'body' | 'query',
): z.output<Schema> {
  const result = schema.safeParse(value)
  if (!result.success) throw invalid(describeIssues(result.error, where))
  return result.data
}

function parseJson(bytes: Uint8Array): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw invalid([{ type: 'encoding', loc: ['body'], msg: 'the body is not valid UTF-8' }], error)
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalid([{ type: 'json_invalid', loc: ['body'], msg: 'the body is not valid JSON' }], error)
  }
}

/** A 422 whose message names the fields. */
export function invalid(detail: IssueDetail[], cause?: unknown): Error {
  return refusal('GENERAL::INVALID_REQUEST', summarizeIssues(detail), {
    extra: { detail },
    ...(cause !== undefined && { cause }),
  })
}

function tooLarge(): Error {
  return refusal('GENERAL::PAYLOAD_TOO_LARGE', `The body must have at most ${MAX_BODY_BYTES} bytes`)
}

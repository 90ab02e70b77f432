// What the lifecycle API tolerates in a request, in one place (contract: lifecycle.md 1.3, clients.md rule 11): a null stands
// for an absent field, snake_case names are accepted beside the documented ones, whole numbers may come as texts, booleans
// in several spellings. Texts never come as numbers.

import { z } from 'zod'
import { isRecord } from '../is-record.ts'

/** No program takes an argument or variable with a NUL, so it is refused at the door. */
export const text = z.string().refine((value) => !value.includes('\0'), 'must not contain a NUL character')

const TRUE = ['true', '1', 'yes', 'on', 't', 'y']
const FALSE = ['false', '0', 'no', 'off', 'f', 'n']

/** A whole number within bounds, also as a text such as "120". */
export function integer(min: number, max?: number) {
  const atLeast = z.int().min(min)
  return z.preprocess(readInteger, max === undefined ? atLeast : atLeast.max(max))
}

/** A boolean, also as one of the usual words or as 0 and 1. */
export const bool = z.preprocess(readBoolean, z.boolean())

/** An object of named fields in which null means absent and `snake_case` stands for `snakeCase`; unknown fields are ignored. */
export function fields<Shape extends z.ZodRawShape>(shape: Shape) {
  const names = new Set(Object.keys(shape))
  return z.preprocess((value) => normalizeFields(value, names), z.object(shape))
}

/** As `fields`, but an unknown field is an error. */
export function exactFields<Shape extends z.ZodRawShape>(shape: Shape) {
  const names = new Set(Object.keys(shape))
  return z.preprocess((value) => normalizeFields(value, names), z.strictObject(shape))
}

/** A map of texts in which null entries count as absent. */
export function textMap() {
  return z.preprocess(dropNulls, z.record(text, text))
}

/** An object of at most `max` entries. It is counted before it is looked at, as to read many takes long. */
export function atMost<Schema extends z.ZodType>(max: number, schema: Schema) {
  return z.preprocess((value, context) => {
    const count = isRecord(value) ? Object.keys(value).length : 0
    if (count <= max) return value
    context.addIssue({ code: 'custom', message: `must have at most ${max} entries, but it has ${count}` })
    return z.NEVER
  }, schema)
}

function readInteger(value: unknown): unknown {
  return typeof value === 'string' && /^\s*[+-]?\d{1,15}(\.0+)?\s*$/.test(value) ? Number(value) : value
}

function readBoolean(value: unknown): unknown {
  const word =
    typeof value === 'string' ? value.toLowerCase() : typeof value === 'number' ? String(value) : ''
  if (TRUE.includes(word)) return true
  return FALSE.includes(word) ? false : value
}

function normalizeFields(value: unknown, names: Set<string>): unknown {
  if (!isRecord(value)) return value
  const normal: Record<string, unknown> = {}
  for (const [key, field] of Object.entries(value)) {
    if (field === null) continue
    const camel = names.has(key) ? key : key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    if (!names.has(camel)) {
      if (key !== '__proto__') normal[key] = field
    } else if (camel === key || !(camel in normal)) normal[camel] = field
  }
  return normal
}

function dropNulls(value: unknown): unknown {
  return isRecord(value)
    ? Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== null))
    : value
}

const MOST_DETAILS = 20

export type IssueDetail = { type: string; loc: (string | number)[]; msg: string }

/** The `detail` list of a 422: where, what was found, what is allowed, and never the value itself. */
export function describeIssues(error: z.ZodError, where: 'body' | 'query' | 'path'): IssueDetail[] {
  const details = error.issues.slice(0, MOST_DETAILS).flatMap((issue): IssueDetail[] => {
    const loc = (...more: PropertyKey[]) => [where, ...[...issue.path, ...more].map(formatPart)]
    // Each is named where it stands: in one message, the names could be as long as the body.
    if (issue.code === 'unrecognized_keys')
      return issue.keys
        .slice(0, MOST_DETAILS)
        .map((key) => ({ type: issue.code, loc: loc(key), msg: 'is not a field of this request' }))
    if (isMissing(issue)) return [{ type: 'missing', loc: loc(), msg: 'is required' }]
    const msg = issue.message.replace(/^(Invalid \w+|Too small|Too big): /, '')
    return [{ type: issue.code, loc: loc(), msg }]
  })
  return details.slice(0, MOST_DETAILS)
}

function formatPart(part: PropertyKey): string | number {
  return typeof part === 'number' ? part : String(part).slice(0, 100)
}

/** One sentence for a 422: the first fields that are wrong, with what is wrong. */
export function summarizeIssues(details: IssueDetail[]): string {
  const parts = details.slice(0, 3).map(({ loc, msg }) => `${loc.slice(1).join('.') || loc[0]}: ${msg}`)
  const more = details.length > 3 ? `; and ${details.length - 3} more` : ''
  return `The request is not valid: ${parts.join('; ')}${more}`
}

function isMissing(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' && issue.message.endsWith('received undefined')
}

// What the shapes of several resources of the lifecycle API have in common, and how times and pages are written in all of them.

import { z } from 'zod'
import { isRecord } from '../is-record.ts'
import { atMost, text } from './lifecycle-coerce.ts'

/** The longest argument or variable that Linux hands to a program, its ending NUL included. */
export const MAX_ARGUMENT_BYTES = 131_072
export const argument = text.refine(
  (value) => Buffer.byteLength(value) < MAX_ARGUMENT_BYTES,
  `must be shorter than ${MAX_ARGUMENT_BYTES} bytes`,
)
export const label = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'must consist of a-z, 0-9 and inner hyphens')
export const isBlank = (value: string | undefined) => value === undefined || value.trim() === ''

const envName = text.refine(
  (value) => value !== '' && !value.includes('='),
  'must not be empty and must not hold "="',
)
/** As many as execd takes for a command. */
const MAX_ENV = 5000
export const envSchema = atMost(
  MAX_ENV,
  z.preprocess(
    (value) =>
      isRecord(value)
        ? Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== null))
        : value,
    z.record(envName, argument),
  ),
)
export const time = z.iso.datetime({ offset: true })

export const paginationSchema = z.object({
  page: z.int(),
  pageSize: z.int(),
  totalItems: z.int(),
  totalPages: z.int(),
  hasNextPage: z.boolean(),
})
export type Pagination = z.output<typeof paginationSchema>

/** The five numbers that every list carries; `totalPages` of an empty list is 0. */
export function formatPagination(page: number, pageSize: number, totalItems: number): Pagination {
  const totalPages = Math.ceil(totalItems / pageSize)
  return { page, pageSize, totalItems, totalPages, hasNextPage: page < totalPages }
}

/** A time as it stands on the wire: UTC, six fractional digits, or none when they are zero (contract: lifecycle.md 0). */
export function formatTime(ms: number): string {
  const iso = new Date(ms).toISOString()
  return ms % 1000 === 0 ? `${iso.slice(0, -5)}Z` : `${iso.slice(0, -1)}000Z`
}

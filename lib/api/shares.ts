// Links that open one port of a sandbox that is closed to others (control/routes/shares.ts). An addition to the contract.

import { z } from 'zod'
import { isPlain } from '../plain-path.ts'
import { bool, exactFields, integer, text } from './lifecycle-coerce.ts'

const DAY_SECONDS = 86_400
/** How long a link holds of which nothing was said. */
export const DEFAULT_SHARE_SECONDS = DAY_SECONDS
export const MAX_SHARE_SECONDS = 90 * DAY_SECONDS
export const MAX_SHARES = 100

export const SHARE_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

/** Body of `POST /sandboxes/{id}/shares`. */
export const shareRequestSchema = exactFields({
  port: integer(1, 65535),
  /** For whoever lists them. */
  name: text.min(1).max(200).optional(),
  /** At and below which it opens; everywhere when absent. */
  path: text
    .max(1024)
    .regex(/^\/[\x21-\x7e]*$/, 'must begin with "/" and be of visible ASCII characters')
    .refine(
      (path) => isPlain(path) && !path.includes('?'),
      'must be a path that every server takes for the same: without a query, dots as a part, two slashes or an encoded slash',
    )
    .optional(),
  /** HEAD goes with GET. */
  methods: z
    .array(z.enum(SHARE_METHODS))
    .min(1)
    .refine((methods) => new Set(methods).size === methods.length, 'must be different ones')
    .optional(),
  /** It opens for the first who comes, until its end. */
  once: bool.optional(),
  ttlSeconds: integer(1, MAX_SHARE_SECONDS).optional(),
  expiresAt: z.iso.datetime({ offset: true }).optional(),
}).refine(
  ({ ttlSeconds, expiresAt }) => ttlSeconds === undefined || expiresAt === undefined,
  'must have at most one of "ttlSeconds" and "expiresAt"',
)
export type ShareRequest = z.output<typeof shareRequestSchema>

const time = z.iso.datetime({ offset: true })

const shareSchema = z.object({
  id: z.string(),
  sandboxId: z.string(),
  port: z.number(),
  name: z.string().optional(),
  path: z.string().optional(),
  methods: z.array(z.enum(SHARE_METHODS)).optional(),
  once: z.boolean(),
  usedAt: time.optional(),
  expiresAt: time,
  createdAt: time,
  createdBy: z.string().optional(),
})
export const shareListSchema = z.object({ items: z.array(shareSchema) })
/** `token` and `url` are the secret, shown this once. */
export const newShareSchema = shareSchema.extend({ token: z.string(), url: z.string() })
export type ShareAnswer = z.output<typeof shareSchema>

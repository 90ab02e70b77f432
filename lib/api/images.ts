// The images of the machine, for operators (control/routes/images.ts), and how a create says when its image is fetched. An addition
// to the contract.

import { z } from 'zod'
import { exactFields, integer, text } from './lifecycle-coerce.ts'

/** When a registry is asked for an image: when it is not on the machine, before each start, or never. */
export const PULL_POLICIES = ['IfNotPresent', 'Always', 'Never'] as const
export type PullPolicy = (typeof PULL_POLICIES)[number]

export const IMAGE_ORIGINS = ['registry', 'archive', 'host'] as const
export type ImageOrigin = (typeof IMAGE_ORIGINS)[number]

const time = z.iso.datetime({ offset: true })

export const pullRequestSchema = exactFields({
  image: exactFields({
    uri: text.min(1),
    auth: exactFields({ username: text, password: text }).optional(),
  }),
  policy: z.enum(PULL_POLICIES).optional(),
  /** Lets every tenant use an image that came by a login. */
  shared: z.boolean().default(false),
})

export const imageSchema = z.object({
  id: z.string(),
  references: z.array(z.string()),
  digest: z.string().optional(),
  origin: z.enum(IMAGE_ORIGINS),
  sizeBytes: z.number(),
  shared: z.boolean(),
  createdAt: time,
  lastUsedAt: time,
  users: z.number(),
})
export type ImageBody = z.output<typeof imageSchema>

export const imagePullSchema = z.object({
  uri: z.string(),
  state: z.enum(['Pulling', 'Failed']),
  message: z.string().optional(),
  startedAt: time,
})
export type ImagePullBody = z.output<typeof imagePullSchema>

export const imageListSchema = z.object({
  items: z.array(imageSchema),
  /** What operators have asked for that is not there: it is coming, or could not be fetched. */
  pulls: z.array(imagePullSchema),
  totalBytes: z.number(),
})

export const collectRequestSchema = exactFields({
  /** Remove what nobody has used for so long. */
  maxAgeHours: integer(0, 87_600).optional(),
  /** Remove the least recently used until all images together take no more. */
  maxBytes: integer(0).optional(),
})

export const collectedSchema = z.object({
  removed: z.array(imageSchema),
  freedBytes: z.number(),
  totalBytes: z.number(),
})

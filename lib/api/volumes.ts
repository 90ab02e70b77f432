// Named volumes by themselves: an addition to the contract, in which a create alone makes them (docs/volumes.md).

import { z } from 'zod'
import { exactFields } from './lifecycle-coerce.ts'
import { label, paginationSchema, time } from './lifecycle-parts.ts'

export const volumeRequestSchema = exactFields({ name: label.max(253) })

export const volumeSchema = z.object({
  name: z.string(),
  createdAt: time,
  /** The name of the API key that made it; absent when it was made for a pool. */
  createdBy: z.string().optional(),
  /** Whether it goes with the last sandbox that mounts it. */
  deleteOnSandboxTermination: z.boolean(),
  /** The ids of sandboxes that mount it: the first hundred of them. */
  usedBy: z.array(z.string()),
  /** What it takes on the disk, and when that was found out; absent until it is. */
  sizeBytes: z.int().optional(),
  sizeAt: time.optional(),
  /** For the operator's keys. */
  tenant: z.string().optional(),
})
export type Volume = z.output<typeof volumeSchema>
export const volumeListSchema = z.object({ items: z.array(volumeSchema), pagination: paginationSchema })

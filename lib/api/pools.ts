// Pools of warm sandboxes (contract: lifecycle.md 2).

import { z } from 'zod'
import { fields, integer } from './lifecycle-coerce.ts'
import { label, time } from './lifecycle-parts.ts'

const capacitySchema = fields({
  bufferMax: integer(0),
  bufferMin: integer(0),
  poolMax: integer(0),
  poolMin: integer(0),
})
export const poolRequestSchema = fields({
  name: label.max(253),
  template: z.record(z.string(), z.unknown()),
  capacitySpec: capacitySchema,
})
export const poolUpdateSchema = fields({
  capacitySpec: capacitySchema,
  /** An addition: warm sandboxes of the old shape are replaced. */
  template: z.record(z.string(), z.unknown()).optional(),
})

export const poolSchema = z.object({
  name: z.string(),
  capacitySpec: z.object({
    bufferMax: z.int(),
    bufferMin: z.int(),
    poolMax: z.int(),
    poolMin: z.int(),
  }),
  status: z.object({
    total: z.int(),
    allocated: z.int(),
    available: z.int(),
    revision: z.string(),
    /** An addition: why the pool could not be filled, last time. */
    message: z.string().optional(),
  }),
  createdAt: time,
  /** An addition, for the operator's keys. */
  tenant: z.string().optional(),
})
export type Pool = z.output<typeof poolSchema>
export const poolListSchema = z.object({ items: z.array(poolSchema) })

// Templates, of which sandboxes are made (contract: v1.1.md 1.4).

import { z } from 'zod'
import { exactFields, fields, integer, text } from './lifecycle-coerce.ts'
import { argument, envSchema, paginationSchema, time } from './lifecycle-parts.ts'

export const templateRequestSchema = exactFields({
  image: text.min(1),
  publish: text.min(1),
  resourceLimits: z.record(z.string(), z.string()).optional(),
  entrypoint: z.array(argument).min(1).optional(),
  env: envSchema.optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  readiness: fields({
    probe: z
      .string()
      .regex(/^(tcp|cmd):\/\//, 'must begin with "tcp://" or "cmd://"')
      .optional(),
    warmupSeconds: integer(0).optional(),
  }).optional(),
  format: z.enum(['native', 'overlaybd']).optional(),
})
export type TemplateRequest = z.output<typeof templateRequestSchema>

export const TEMPLATE_PHASES = ['Pending', 'Building', 'Succeeded', 'Failed'] as const
export type TemplatePhase = (typeof TEMPLATE_PHASES)[number]

export const templateSchema = z.object({
  templateId: z.string(),
  image: z.string(),
  publish: z.string(),
  format: z.enum(['native', 'overlaybd']),
  status: z.object({
    phase: z.enum(TEMPLATE_PHASES),
    manifestRef: z.string().optional(),
    message: z.string().optional(),
  }),
  resourceLimits: z.record(z.string(), z.string()).optional(),
  entrypoint: z.array(z.string()).optional(),
  env: z.record(z.string(), z.string()).optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  readiness: z.object({ probe: z.string().optional(), warmupSeconds: z.int().optional() }).optional(),
  createdAt: time,
  updatedAt: time,
})
export type Template = z.output<typeof templateSchema>
export const templateListSchema = z.object({ items: z.array(templateSchema), pagination: paginationSchema })

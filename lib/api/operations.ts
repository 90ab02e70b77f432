// What a server says of itself to those who run it. `/ready` is an addition to the contract.

import { z } from 'zod'

export const healthSchema = z.object({ status: z.literal('healthy') })
export const versionSchema = z.object({ version: z.string() })

export const readinessSchema = z.object({
  status: z.enum(['ready', 'not_ready']),
  /** By what is needed: the database, the runtime, egress, and whether rows and runtime were made to agree of late. */
  checks: z.record(z.string(), z.object({ ok: z.boolean(), reason: z.string().optional() })),
})
export type Readiness = z.output<typeof readinessSchema>

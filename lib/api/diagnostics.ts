// What is asked and told of the logs and events of a sandbox (contract: v1.1.md 1.6).

import { z } from 'zod'
import { integer } from './lifecycle-coerce.ts'

/** What part of a sandbox diagnostics may be about. */
export const DIAGNOSTICS_SCOPES = { logs: ['container', 'all'], events: ['runtime', 'all'] } as const
export const logsQuerySchema = z.object({ tail: integer(1, 10_000).default(100) })
export const eventsQuerySchema = z.object({ limit: integer(1, 500).default(50) })
export const summaryQuerySchema = z.object({
  event_limit: integer(1, 500).default(20),
  tail: integer(1, 10_000).default(50),
})

export const diagnosticsSchema = z.object({
  sandboxId: z.string(),
  kind: z.enum(['logs', 'events']),
  scope: z.string(),
  delivery: z.enum(['inline', 'url']),
  contentType: z.string(),
  content: z.string().optional(),
  contentLength: z.int().optional(),
  truncated: z.boolean(),
  warnings: z.array(z.string()).optional(),
})
export type Diagnostics = z.output<typeof diagnosticsSchema>

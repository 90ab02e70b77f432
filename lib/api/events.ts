// What happened to sandboxes, as `/events` streams it and `/sandboxes/{id}/history` lists it. An addition to the contract.

import { z } from 'zod'
import { SANDBOX_STATES } from './lifecycle.ts'
import { integer } from './lifecycle-coerce.ts'

/** Query of `GET /events`. */
export const eventStreamQuerySchema = z.object({
  after: integer(0).optional(),
  sandboxId: z.string().max(100).optional(),
})

/** Query of `GET /sandboxes/{id}/history`. */
export const historyQuerySchema = z.object({ limit: integer(1, 1000).default(200) })

export const eventSchema = z.object({
  /** Its place in the order of all events. */
  id: z.number(),
  at: z.iso.datetime({ offset: true }),
  sandboxId: z.string(),
  type: z.string(),
  state: z.enum(SANDBOX_STATES).optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
})
export type SandboxEvent = z.output<typeof eventSchema>

export const eventListSchema = z.object({ items: z.array(eventSchema) })

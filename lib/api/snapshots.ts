// The shapes of snapshots, requests and answers (contract: lifecycle.md 2.2 and 3.5, v1.1.md 1.7), and of forks, which are an
// addition to the contract.

import { z } from 'zod'
import {
  createdSandboxSchema,
  limitsSchema,
  listQuerySchema,
  networkPolicyRequestSchema,
} from './lifecycle.ts'
import { fields, integer, text } from './lifecycle-coerce.ts'
import { argument, envSchema, paginationSchema, time } from './lifecycle-parts.ts'

export const SNAPSHOT_STATES = ['Creating', 'Ready', 'Failed', 'Deleting'] as const
export type SnapshotState = (typeof SNAPSHOT_STATES)[number]

/** Body of `POST /sandboxes/{id}/snapshots`; it may be missing. `metadata` is an addition. */
export const snapshotRequestSchema = fields({
  name: text.min(1).max(256).optional(),
  metadata: z.record(z.string(), z.string()).optional(),
})

/** Query of `GET /snapshots`; `state` is read from the query itself, as it may come several times. */
export const snapshotQuerySchema = listQuerySchema.extend({
  sandboxId: z.string().max(100).optional(),
  name: z.string().max(256).optional(),
})

export const snapshotSchema = z.object({
  id: z.string(),
  /** The sandbox that it was taken of. */
  sandboxId: z.string(),
  name: z.string().optional(),
  status: z.object({
    state: z.enum(SNAPSHOT_STATES),
    reason: z.string().optional(),
    message: z.string().optional(),
    lastTransitionAt: time.optional(),
  }),
  createdAt: time,
  // Additions to the contract.
  metadata: z.record(z.string(), z.string()).optional(),
  /** What it takes on the disk, beyond what it was taken on top of. */
  sizeBytes: z.int().optional(),
  /** `sha256:` and 64 hexadecimal digits; it may come some time after the snapshot is ready. */
  digest: z.string().optional(),
  /** The image of its sandbox, and the snapshot that the sandbox was made from. */
  image: z.object({ uri: z.string() }).optional(),
  parentSnapshotId: z.string().optional(),
})
export type Snapshot = z.output<typeof snapshotSchema>

export const snapshotListSchema = z.object({ items: z.array(snapshotSchema), pagination: paginationSchema })
export type SnapshotList = z.output<typeof snapshotListSchema>

/** As many forks as one request may make. */
const MAX_FORKS = 64

/** Body of `POST /sandboxes/{id}/fork`; it may be missing. What is absent is as in the source, but for `env` and `volumes`. */
export const forkRequestSchema = fields({
  count: integer(1, MAX_FORKS).default(1),
  timeout: integer(60).optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  env: envSchema.optional(),
  entrypoint: z.array(argument).min(1).max(10_000).optional(),
  resourceLimits: limitsSchema.optional(),
  networkPolicy: networkPolicyRequestSchema.optional(),
})
export type ForkRequest = z.output<typeof forkRequestSchema>

export const forkedSchema = z.object({ items: z.array(createdSandboxSchema) })
export type Forked = z.output<typeof forkedSchema>

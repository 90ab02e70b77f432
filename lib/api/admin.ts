// The operator's API: keys, tenants with their quotas, the audit (control/routes/admin.ts). An addition to the contract.

import { z } from 'zod'
import { KEY_NAME, ROLES, TENANT_NAME } from '../access.ts'
import { exactFields, integer, text } from './lifecycle-coerce.ts'

export const tenantName = text
  .max(TENANT_NAME.maxLength)
  .regex(TENANT_NAME.pattern, `must be ${TENANT_NAME.allowed}`)

const keyName = text.max(KEY_NAME.maxLength).regex(KEY_NAME.pattern, `must be ${KEY_NAME.allowed}`)

export const keyRequestSchema = exactFields({
  name: keyName,
  role: z.enum(ROLES).default('member'),
  tenant: tenantName.optional(),
  /** RFC 3339; absent: until it is revoked. */
  expiresAt: z.iso.datetime({ offset: true }).optional(),
})

export const rotateRequestSchema = exactFields({
  /** How long the old key goes on opening. */
  graceSeconds: integer(0, 7 * 86_400).default(0),
})

export const quotaSchema = exactFields({
  sandboxes: integer(0, 1_000_000).optional(),
  /** CPUs of all sandboxes together. */
  cpu: z.number().min(0).max(1_000_000).optional(),
  /** Bytes of all sandboxes together. */
  memoryBytes: integer(0).optional(),
  createsPerMinute: integer(0, 1_000_000).optional(),
  snapshots: integer(0, 1_000_000).optional(),
  /** Bytes of all snapshots together. */
  snapshotBytes: integer(0).optional(),
  /** Bytes of all named volumes together. */
  volumeBytes: integer(0).optional(),
})
export type QuotaBody = z.output<typeof quotaSchema>

export const auditQuerySchema = z.object({
  tenant: tenantName.optional(),
  actor: z.string().max(200).optional(),
  /** Rows with a larger id, for reading on. */
  after: integer(0).default(0),
  limit: integer(1, 1000).default(100),
})

export const connectionsQuerySchema = z.object({
  /** The id of one sandbox. */
  sandbox: z.string().max(100).optional(),
  limit: integer(1, 5000).default(1000),
})

export const connectionListSchema = z.object({
  items: z.array(
    z.object({
      sandboxId: z.string(),
      port: z.number(),
      client: z.string(),
      kind: z.enum(['request', 'stream']),
      method: z.string(),
      path: z.string(),
      ageMs: z.number(),
      bytesIn: z.number(),
      bytesOut: z.number(),
      share: z.string().optional(),
    }),
  ),
  leftOut: z.number(),
})

const time = z.iso.datetime({ offset: true })

const keySchema = z.object({
  id: z.string(),
  name: z.string(),
  role: z.enum(ROLES),
  tenant: z.string().optional(),
  createdAt: time,
  createdBy: z.string().optional(),
  expiresAt: time.optional(),
  revokedAt: time.optional(),
  lastUsedAt: time.optional(),
})
/** `key` is the secret, shown this once. */
export const newKeySchema = keySchema.extend({ key: z.string() })
export const keyListSchema = z.object({ items: z.array(keySchema) })

export const tenantSchema = z.object({
  name: z.string(),
  quota: z.object({
    sandboxes: z.number().optional(),
    cpu: z.number().optional(),
    memoryBytes: z.number().optional(),
    createsPerMinute: z.number().optional(),
    snapshots: z.number().optional(),
    snapshotBytes: z.number().optional(),
    volumeBytes: z.number().optional(),
  }),
  used: z.object({
    sandboxes: z.number(),
    cpu: z.number(),
    memoryBytes: z.number(),
    /** Those behind forks, too, which are in no list. */
    snapshots: z.number(),
    snapshotBytes: z.number(),
    volumes: z.number(),
    /** As far as their sizes are known. */
    volumeBytes: z.number(),
  }),
})
export const tenantListSchema = z.object({ items: z.array(tenantSchema) })

export const auditListSchema = z.object({
  items: z.array(
    z.object({
      id: z.number(),
      at: time,
      requestId: z.string(),
      actor: z.string(),
      role: z.string(),
      tenant: z.string().optional(),
      client: z.string().optional(),
      method: z.string(),
      route: z.string(),
      target: z.string().optional(),
      status: z.number(),
      code: z.string().optional(),
    }),
  ),
})

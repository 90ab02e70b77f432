// The tables as Drizzle sees them; migrations/ makes them.

import { blob, index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import type { Role } from '../../lib/access.ts'
import type { Platform, SandboxState } from '../../lib/api/lifecycle.ts'
import type { NetworkPolicy } from '../../lib/api/network-policy.ts'
import type { SnapshotState } from '../../lib/api/snapshots.ts'
import type { TemplatePhase, TemplateRequest } from '../../lib/api/templates.ts'
import type { WakeMode } from '../../lib/wake-mode.ts'

/** As in RuntimeSpec. */
export type Limits = { nanoCpus?: number; memoryBytes?: number; diskBytes?: number; gpus?: number }
export type Mount = { source: string; target: string; readOnly: boolean }
type TextMap = Record<string, string>

export const sandboxes = sqliteTable('sandboxes', {
  id: text('id').primaryKey(),
  state: text('state').$type<SandboxState>().notNull(),
  reason: text('reason'),
  message: text('message'),
  acknowledged: integer('acknowledged', { mode: 'boolean' }).notNull(),
  hidden: integer('hidden', { mode: 'boolean' }).notNull(),
  image: text('image').notNull(),
  imageDigest: text('image_digest'),
  entrypoint: text('entrypoint', { mode: 'json' }).$type<string[]>().notNull(),
  env: text('env', { mode: 'json' }).$type<TextMap>().notNull(),
  hasImageAuth: integer('has_image_auth', { mode: 'boolean' }).notNull(),
  metadata: text('metadata', { mode: 'json' }).$type<TextMap>().notNull(),
  extensions: text('extensions', { mode: 'json' }).$type<TextMap>().notNull(),
  platform: text('platform', { mode: 'json' }).$type<Platform>(),
  limits: text('limits', { mode: 'json' }).$type<Limits>().notNull(),
  mounts: text('mounts', { mode: 'json' }).$type<Mount[]>().notNull(),
  networkPolicy: text('network_policy', { mode: 'json' }).$type<NetworkPolicy>(),
  execdToken: text('execd_token').notNull(),
  egressToken: text('egress_token').notNull(),
  address: text('address'),
  generation: integer('generation').notNull(),
  createdAt: integer('created_at').notNull(),
  expiresAt: integer('expires_at'),
  lastTransitionAt: integer('last_transition_at').notNull(),
  tenant: text('tenant').notNull().default('default'),
  createdBy: text('created_by'),
  renewSeconds: integer('renew_seconds'),
  idleSeconds: integer('idle_seconds'),
  idleAction: text('idle_action').$type<'pause'>(),
  activeAt: integer('active_at'),
  accessToken: text('access_token'),
  wake: text('wake').$type<WakeMode>(),
  templateId: text('template_id'),
  pool: text('pool'),
  warm: integer('warm', { mode: 'boolean' }).notNull().default(false),
  poolRevision: text('pool_revision'),
  snapshotId: text('snapshot_id'),
  credentialProxy: integer('credential_proxy', { mode: 'boolean' }).notNull().default(false),
})

export const labels = sqliteTable(
  'labels',
  {
    sandboxId: text('sandbox_id').notNull(),
    key: text('key').notNull(),
    value: text('value').notNull(),
  },
  (table) => [primaryKey({ columns: [table.key, table.value, table.sandboxId] })],
)

export const EVENT_TYPES = [
  'created',
  'state',
  'renewed',
  'metadata',
  'deleted',
  'policy',
  'claimed',
  'snapshot',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

export const events = sqliteTable(
  'events',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    at: integer('at').notNull(),
    tenant: text('tenant').notNull(),
    sandboxId: text('sandbox_id').notNull(),
    type: text('type').$type<EventType>().notNull(),
    state: text('state').$type<SandboxState>(),
    reason: text('reason'),
    message: text('message'),
  },
  (table) => [
    index('events_by_sandbox').on(table.sandboxId, table.id),
    index('events_by_time').on(table.at),
    index('events_by_tenant').on(table.tenant, table.id),
  ],
)

export const pastSandboxes = sqliteTable('past_sandboxes', {
  id: text('id').primaryKey(),
  tenant: text('tenant').notNull(),
  image: text('image').notNull(),
  createdAt: integer('created_at').notNull(),
  endedAt: integer('ended_at').notNull(),
  reason: text('reason'),
  message: text('message'),
  log: blob('log', { mode: 'buffer' }),
})

export const apiKeys = sqliteTable('api_keys', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  hash: text('hash').notNull(),
  role: text('role').$type<Role>().notNull(),
  tenant: text('tenant'),
  createdAt: integer('created_at').notNull(),
  createdBy: text('created_by'),
  expiresAt: integer('expires_at'),
  revokedAt: integer('revoked_at'),
  lastUsedAt: integer('last_used_at'),
})

/** What a tenant may have at most; what is absent is without a limit. */
export type Quota = {
  sandboxes?: number
  nanoCpus?: number
  memoryBytes?: number
  createsPerMinute?: number
  snapshots?: number
  /** Of all snapshots together. */
  snapshotBytes?: number
  /** Of all named volumes together. */
  volumeBytes?: number
}

export const quotas = sqliteTable('quotas', {
  tenant: text('tenant').primaryKey(),
  limits: text('limits', { mode: 'json' }).$type<Quota>().notNull(),
  changedAt: integer('changed_at').notNull(),
})

export const audit = sqliteTable('audit', {
  id: integer('id').primaryKey({ autoIncrement: true }),
  at: integer('at').notNull(),
  requestId: text('request_id').notNull(),
  actor: text('actor').notNull(),
  role: text('role').notNull(),
  tenant: text('tenant'),
  client: text('client'),
  method: text('method').notNull(),
  route: text('route').notNull(),
  target: text('target'),
  status: integer('status').notNull(),
  code: text('code'),
})

export const domains = sqliteTable('domains', {
  name: text('name').primaryKey(),
  sandboxId: text('sandbox_id').notNull(),
  port: integer('port').notNull(),
  createdAt: integer('created_at').notNull(),
  createdBy: text('created_by'),
})

export const shares = sqliteTable('shares', {
  id: text('id').primaryKey(),
  sandboxId: text('sandbox_id').notNull(),
  name: text('name'),
  port: integer('port').notNull(),
  hash: text('hash').notNull(),
  path: text('path'),
  methods: text('methods', { mode: 'json' }).$type<string[]>(),
  once: integer('once', { mode: 'boolean' }).notNull(),
  usedAt: integer('used_at'),
  expiresAt: integer('expires_at').notNull(),
  createdAt: integer('created_at').notNull(),
  createdBy: text('created_by'),
})

export const idempotency = sqliteTable(
  'idempotency',
  {
    tenant: text('tenant').notNull(),
    key: text('key').notNull(),
    requestHash: text('request_hash').notNull(),
    sandboxId: text('sandbox_id').notNull(),
    createdAt: integer('created_at').notNull(),
    answer: text('answer'),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.key] })],
)

export const templates = sqliteTable('templates', {
  id: text('id').primaryKey(),
  tenant: text('tenant').notNull(),
  request: text('request', { mode: 'json' }).$type<TemplateRequest>().notNull(),
  metadata: text('metadata', { mode: 'json' }).$type<TextMap>().notNull(),
  phase: text('phase').$type<TemplatePhase>().notNull(),
  message: text('message'),
  image: text('image'),
  createdAt: integer('created_at').notNull(),
  updatedAt: integer('updated_at').notNull(),
})

export type PoolCapacity = { bufferMax: number; bufferMin: number; poolMax: number; poolMin: number }

export const pools = sqliteTable(
  'pools',
  {
    tenant: text('tenant').notNull(),
    name: text('name').notNull(),
    template: text('template', { mode: 'json' }).$type<Record<string, unknown>>().notNull(),
    capacity: text('capacity', { mode: 'json' }).$type<PoolCapacity>().notNull(),
    createdAt: integer('created_at').notNull(),
    updatedAt: integer('updated_at').notNull(),
    byOperator: integer('by_operator', { mode: 'boolean' }).notNull().default(false),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
)

export const unknownSnapshots = sqliteTable('unknown_snapshots', {
  id: text('id').primaryKey(),
  seenAt: integer('seen_at').notNull(),
})

export const snapshots = sqliteTable('snapshots', {
  id: text('id').primaryKey(),
  tenant: text('tenant').notNull(),
  sandboxId: text('sandbox_id').notNull(),
  name: text('name'),
  metadata: text('metadata', { mode: 'json' }).$type<TextMap>().notNull(),
  state: text('state').$type<SnapshotState>().notNull(),
  reason: text('reason').notNull(),
  message: text('message'),
  hidden: integer('hidden', { mode: 'boolean' }).notNull(),
  inFork: integer('in_fork', { mode: 'boolean' }).notNull().default(false),
  image: text('image').notNull(),
  parent: text('parent'),
  sizeBytes: integer('size_bytes'),
  digest: text('digest'),
  createdBy: text('created_by'),
  createdAt: integer('created_at').notNull(),
  lastTransitionAt: integer('last_transition_at').notNull(),
})

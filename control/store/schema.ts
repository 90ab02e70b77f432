// The tables as Drizzle sees them; migrations/ makes them.

import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import type { Platform, SandboxState } from '../../lib/api/lifecycle.ts'
import type { NetworkPolicy } from '../../lib/api/network-policy.ts'

export type Limits = { nanoCpus?: number; memoryBytes?: number }
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

export const transitions = sqliteTable(
  'transitions',
  {
    sandboxId: text('sandbox_id').notNull(),
    at: integer('at').notNull(),
    state: text('state').$type<SandboxState>().notNull(),
    reason: text('reason'),
    message: text('message'),
  },
  (table) => [index('transitions_by_sandbox').on(table.sandboxId, table.at)],
)

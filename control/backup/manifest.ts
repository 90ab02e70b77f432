// What stands beside the database in a backup: enough to judge it before anything is replaced by it.

import { z } from 'zod'

export const MANIFEST_FILE = 'manifest.json'
export const DATABASE_FILE = 'control.db'

const manifestSchema = z.object({
  kind: z.literal('opensandbox-edge-backup'),
  /** Of the backup itself. */
  format: z.literal(1),
  takenAt: z.iso.datetime(),
  /** Number of the last migration: see control/store/migrate.ts. */
  schemaVersion: z.int().min(1),
  /** Of the program that took it. */
  programVersion: z.string().max(100),
  bytes: z.int().min(1),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  sandboxes: z.int().min(0),
})

export type Manifest = z.infer<typeof manifestSchema>

export function formatManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`
}

/** Reads a manifest. Throws with the field that is wrong. */
export function parseManifest(text: string): Manifest {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error('it is not JSON')
  }
  const read = manifestSchema.safeParse(value)
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new Error(`"${issue?.path.join('.') || 'the whole'}" is wrong: ${issue?.message}`)
}

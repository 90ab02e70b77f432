// A row as clients see it. Absent fields are left out, never null (contract: lifecycle.md 0).

import type { CreatedSandbox, Sandbox } from '../../lib/api/lifecycle.ts'
import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import { isHiddenSnapshot } from '../../lib/id.ts'
import type { SandboxRow } from '../store/rows.ts'
import { callersExtensions } from './plan.ts'

/** The answer of create. */
export function formatCreated(row: SandboxRow): CreatedSandbox {
  const extensions = callersExtensions(row.extensions)
  return {
    id: row.id,
    status: {
      state: row.state,
      ...(row.reason !== null && { reason: row.reason }),
      ...(row.message !== null && { message: row.message }),
      lastTransitionAt: formatTime(row.lastTransitionAt),
    },
    ...(Object.keys(row.metadata).length > 0 && { metadata: row.metadata }),
    ...(Object.keys(extensions).length > 0 && { extensions }),
    ...(row.pool !== null && { allocation: { mode: 'pool', poolRef: row.pool, state: 'allocated' } }),
    ...(row.platform && { platform: row.platform }),
    ...(row.expiresAt !== null && { expiresAt: formatTime(row.expiresAt) }),
    createdAt: formatTime(row.createdAt),
    entrypoint: row.entrypoint,
  }
}

/** A sandbox as get, list and the metadata patch answer it. */
export function formatSandbox(row: SandboxRow): Sandbox {
  // Of a fork the image is told: its snapshot is nobody's business.
  const isRestored = row.snapshotId !== null && !isHiddenSnapshot(row.snapshotId)
  return {
    ...formatCreated(row),
    ...(isRestored ? { snapshotId: row.snapshotId ?? '' } : { image: { uri: row.image } }),
  }
}

// A row as clients see it. Absent fields are left out, never null (contract: lifecycle.md 0).

import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import type { Snapshot } from '../../lib/api/snapshots.ts'
import type { SnapshotRow } from '../store/snapshots.ts'

export function formatSnapshot(row: SnapshotRow): Snapshot {
  return {
    id: row.id,
    sandboxId: row.sandboxId,
    ...(row.name !== null && { name: row.name }),
    status: {
      state: row.state,
      reason: row.reason,
      ...(row.message !== null && { message: row.message }),
      lastTransitionAt: formatTime(row.lastTransitionAt),
    },
    createdAt: formatTime(row.createdAt),
    ...(Object.keys(row.metadata).length > 0 && { metadata: row.metadata }),
    ...(row.sizeBytes !== null && { sizeBytes: row.sizeBytes }),
    ...(row.digest !== null && { digest: row.digest }),
    image: { uri: row.image },
    ...(row.parent !== null && { parentSnapshotId: row.parent }),
  }
}

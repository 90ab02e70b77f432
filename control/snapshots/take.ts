// What clients do with snapshots: ask for one, and delete one. What follows from it is the keeper's: a row in state Creating or
// Deleting is work that is to be done, whatever happens to this process.

import { createSnapshotId } from '../../lib/id.ts'
import { refusal } from '../errors.ts'
import { requireSandbox } from '../sandbox/change.ts'
import type { Lives } from '../sandbox/lives.ts'
import { checkMetadata } from '../sandbox/metadata.ts'
import type { SandboxRow } from '../store/rows.ts'
import type { SnapshotRow, SnapshotStore } from '../store/snapshots.ts'
import { insertRow, moveSnapshot } from './move.ts'
import { inUse, noSnapshot } from './refuse.ts'

export type SnapshotDeps = { lives: Lives; snapshots: SnapshotStore }

/** So many of one tenant may be under way; the others are asked to come again. */
const MOST_AT_ONCE = 16

export type TakeOptions = {
  createdBy: string | null
  name?: string
  metadata?: Record<string, string>
  /** Of a fork: no client sees it. */
  hidden?: boolean
}

/** Writes down that a snapshot of a sandbox is wanted. Throws ApiError when there can be none. */
export function acceptSnapshot(
  { lives, snapshots }: SnapshotDeps,
  sandbox: SandboxRow,
  { createdBy, name, metadata = {}, hidden = false }: TakeOptions,
): SnapshotRow {
  checkMetadata(metadata)
  const { id, tenant, state } = requireSandbox(lives, sandbox.id)
  if (state !== 'Running')
    throw refusal(
      'SNAPSHOT::INVALID_SOURCE_STATE',
      `Cannot take a snapshot of a sandbox that is ${state}: it must be Running`,
    )
  if (!lives.runtime.snapshots) throw refusal('SNAPSHOT::NOT_IMPLEMENTED', 'This runtime takes no snapshots')
  const { unsupported } = lives.runtime.snapshots
  if (unsupported !== undefined)
    throw refusal('SNAPSHOT::UNSUPPORTED_RUNTIME', `Cannot take a snapshot: ${unsupported}`)
  if (lives.signal.aborted)
    throw refusal('GENERAL::STOPPING', 'The server is stopping: try again in a moment')
  if (snapshots.count(tenant, ['Creating']) >= MOST_AT_ONCE)
    throw refusal(
      'GENERAL::TOO_MANY_REQUESTS',
      `${MOST_AT_ONCE} snapshots are being taken already: try again when some are ready`,
    )
  lives.quotas.admitSnapshot(tenant)
  const at = lives.now()
  return insertRow(
    { lives, snapshots },
    {
      id: createSnapshotId({ hidden }),
      tenant,
      sandboxId: id,
      name: name ?? null,
      metadata,
      state: 'Creating',
      reason: 'snapshot_accepted',
      message: null,
      hidden,
      inFork: hidden,
      image: sandbox.image,
      parent: sandbox.snapshotId,
      sizeBytes: null,
      digest: null,
      createdBy,
      createdAt: at,
      lastTransitionAt: at,
    },
  )
}

/**
 * Writes down that a snapshot is to go. It is looked for users first, in the same statement, so that one that is refused stays
 * what it was. Throws ApiError.
 */
export function acceptDeletion({ lives, snapshots }: SnapshotDeps, id: string): void {
  if (moveSnapshot({ lives, snapshots }, id, 'delete', { onlyUnused: true })) return
  const row = snapshots.get(id)
  if (!row) throw noSnapshot()
  if (row.state === 'Creating')
    throw refusal(
      'SNAPSHOT::INVALID_STATE',
      'The snapshot is being taken: delete it once it is Ready or Failed',
    )
  // Somebody else has asked for the same.
  if (row.state === 'Deleting') return
  throw inUse()
}

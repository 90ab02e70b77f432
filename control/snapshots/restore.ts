// Making a sandbox from a snapshot (contract: lifecycle.md 2.1 and 3.5).

import type { CreateRequest } from '../../lib/api/lifecycle.ts'
import { refusal } from '../errors.ts'
import { createSandbox, type Owner } from '../sandbox/create.ts'
import type { Lives } from '../sandbox/lives.ts'
import { IDLE_ENTRYPOINT, type PlanLimits, planCreate } from '../sandbox/plan.ts'
import type { SandboxRow } from '../store/rows.ts'
import type { SnapshotRow, SnapshotStore } from '../store/snapshots.ts'
import { noSnapshot } from './refuse.ts'

export type RestoreDeps = { lives: Lives; snapshots: SnapshotStore; planLimits: () => PlanLimits }

/** A snapshot that a client of this tenant may name. Throws 404. */
export function requireNamed(
  { snapshots }: Pick<RestoreDeps, 'snapshots'>,
  tenant: string,
  id: string,
): SnapshotRow {
  const row = snapshots.get(id)
  if (row?.tenant !== tenant || row.hidden) throw noSnapshot()
  return row
}

/**
 * Makes a sandbox as a request says, with the files of a snapshot. The snapshot is looked at once more when nothing is awaited before
 * the row is written, as the row is what keeps it from being deleted.
 */
export async function createFromSnapshot(
  deps: RestoreDeps,
  request: CreateRequest,
  { snapshot, owner, caller }: { snapshot: SnapshotRow; owner: Owner; caller: AbortSignal },
): Promise<{ row: SandboxRow; warnings: string[] }> {
  requireReady(deps, snapshot)
  const plan = planCreate(fillFromSnapshot(request, snapshot), deps.planLimits())
  const row = await createSandbox(deps.lives, plan, owner, caller, {
    source: { snapshotId: snapshot.id },
    requirePlace: () => requireReady(deps, deps.snapshots.get(snapshot.id)),
  })
  return { row, warnings: plan.warnings }
}

function requireReady({ lives }: RestoreDeps, snapshot: SnapshotRow | undefined): void {
  if (!lives.runtime.snapshots)
    throw refusal('SNAPSHOT::NOT_IMPLEMENTED', 'This runtime makes no sandboxes from snapshots')
  if (!snapshot) throw noSnapshot()
  const { state } = snapshot
  if (state !== 'Ready')
    throw refusal(
      'SNAPSHOT::NOT_READY',
      `Cannot make a sandbox from a snapshot that is ${state}: it must be Ready`,
    )
}

function fillFromSnapshot(request: CreateRequest, { image }: SnapshotRow): CreateRequest {
  const { snapshotId: _, entrypoint = IDLE_ENTRYPOINT, ...rest } = request
  return { ...rest, image: { uri: image }, entrypoint }
}

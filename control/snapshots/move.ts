// Steps of snapshots as they are written down: the row, and for whoever follows the sandbox an event, in one transaction.

import type { Lives } from '../sandbox/lives.ts'
import type { SnapshotChange, SnapshotRow, SnapshotStore } from '../store/snapshots.ts'
import { type SnapshotStep, STEPS, stepChange } from './steps.ts'

export type MoveDeps = { lives: Pick<Lives, 'store' | 'now'>; snapshots: SnapshotStore }

type Told = Pick<SnapshotChange, 'sizeBytes' | 'digest' | 'parent'> & {
  message?: string
  onlyUnused?: boolean
}

/** Takes a step; undefined when the snapshot is not in a state that it leads from, or gone. */
export function moveSnapshot(
  { lives, snapshots }: MoveDeps,
  id: string,
  step: SnapshotStep,
  { message, onlyUnused = false, ...more }: Told,
): SnapshotRow | undefined {
  const change = { ...more, ...stepChange(step, lives.now(), message ?? null) }
  const { from } = STEPS[step]
  return written(lives, () =>
    onlyUnused ? snapshots.moveUnused(id, from, change) : snapshots.move(id, from, change),
  )
}

/** Writes a new row. */
export function insertRow({ lives, snapshots }: MoveDeps, row: SnapshotRow): SnapshotRow {
  return written(lives, () => snapshots.insert(row)) ?? row
}

/** Removes the row of one that is gone. */
export function removeRow({ lives, snapshots }: MoveDeps, row: SnapshotRow): void {
  written(lives, () => (snapshots.delete(row.id) ? { ...row, reason: 'snapshot_deleted' } : undefined))
}

function written(
  { store, now }: MoveDeps['lives'],
  write: () => SnapshotRow | undefined,
): SnapshotRow | undefined {
  const row = store.database.transact(() => {
    const changed = write()
    if (!changed || changed.hidden) return changed
    const { tenant, sandboxId, reason, message } = changed
    store.events.append({
      at: now(),
      tenant,
      sandboxId,
      type: 'snapshot',
      state: store.get(sandboxId)?.state ?? null,
      reason,
      message: `Snapshot "${changed.id}"${message === null ? '' : `: ${message}`}`,
    })
    return changed
  })
  if (row && !row.hidden) store.tell({ id: row.sandboxId, tenant: row.tenant })
  return row
}

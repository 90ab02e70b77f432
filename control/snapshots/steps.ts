// The life of a snapshot as a table of allowed steps, with the reasons that the contract gives them (lifecycle.md 3.5). A step of
// which another one was quicker is not taken: the statement that takes it names the state that it leads from.

import type { SnapshotState } from '../../lib/api/snapshots.ts'

export const STEPS = {
  /** The runtime has made it. */
  made: { from: ['Creating'], to: 'Ready', reason: 'snapshot_runtime_ready' },
  failed: { from: ['Creating'], to: 'Failed', reason: 'snapshot_runtime_failed' },
  timed_out: { from: ['Creating'], to: 'Failed', reason: 'snapshot_runtime_timeout' },
  /** After a restart: what an earlier process had begun is whole, or is not there. */
  recovered: { from: ['Creating'], to: 'Ready', reason: 'snapshot_recovery_ready' },
  not_recovered: { from: ['Creating'], to: 'Failed', reason: 'snapshot_recovery_missing_image' },
  /** Somebody has removed what it was made of. */
  lost: { from: ['Ready'], to: 'Failed', reason: 'snapshot_runtime_missing_image' },
  /** It is there again: another daemon was asked, or a disk was not mounted. Only from `lost`. */
  found: { from: ['Failed'], to: 'Ready', reason: 'snapshot_recovery_ready' },
  delete: { from: ['Ready', 'Failed'], to: 'Deleting', reason: 'snapshot_delete_requested' },
  /** It is in use after all, and stays what it was. */
  kept: { from: ['Deleting'], to: 'Ready', reason: 'snapshot_runtime_ready' },
} as const satisfies Record<string, { from: readonly SnapshotState[]; to: SnapshotState; reason: string }>

export type SnapshotStep = keyof typeof STEPS

/** The change of a row that takes a step. */
export function stepChange(step: SnapshotStep, at: number, message: string | null = null) {
  const { to, reason } = STEPS[step]
  return { state: to, reason, message, lastTransitionAt: at }
}

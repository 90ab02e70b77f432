// Makes the rows of snapshots and what the runtime has agree.
//
//   row                     runtime    outcome
//   Creating, unsettled     whole      Ready
//   Creating, unsettled     nothing    Failed
//   Ready                   nothing    Failed: somebody has removed it
//   Failed for that         whole      Ready: it was not to be found for a while, as by another daemon
//   Failed otherwise        whole      removed: it came too late
//   none                    whole      removed: an orphan
//
// What is worked at is left alone.

import { messageOf } from '../../lib/errors.ts'
import type { Snapshots } from '../runtime/snapshots.ts'
import { moveSnapshot } from './move.ts'
import { STEPS } from './steps.ts'
import type { SnapshotDeps } from './take.ts'

const LIST_TIMEOUT_MS = 30_000
const REMOVE_TIMEOUT_MS = 60_000

type Agreement = {
  /** Of which it is not known how they ended; those that are settled are taken out. */
  unsettled: Set<string>
  isBusy: (id: string) => boolean
}

/** One comparison. Rejects when the runtime cannot list. */
export async function agreeSnapshots(
  deps: SnapshotDeps,
  runtime: Snapshots,
  { unsettled, isBusy }: Agreement,
): Promise<void> {
  const { lives, snapshots } = deps
  // Read before the list: what becomes Ready after it is not in it.
  const ready = snapshots.inState('Ready').filter(({ id }) => !isBusy(id))
  const listed = await runtime.list(AbortSignal.any([lives.signal, AbortSignal.timeout(LIST_TIMEOUT_MS)]))
  const found = new Map(listed.map((snapshot) => [snapshot.id, snapshot]))
  for (const id of [...unsettled]) {
    const { sizeBytes, digest = null } = found.get(id) ?? {}
    if (sizeBytes !== undefined) moveSnapshot(deps, id, 'recovered', { sizeBytes, digest })
    else
      moveSnapshot(deps, id, 'not_recovered', {
        message: 'The server was stopped while the snapshot was taken: take it again',
      })
    unsettled.delete(id)
  }
  for (const { id } of ready)
    if (!found.has(id) && !isBusy(id))
      moveSnapshot(deps, id, 'lost', { message: 'What it was made of is not there any more' })
  for (const [id, { sizeBytes, digest = null }] of found) {
    if (isBusy(id)) continue
    const row = snapshots.get(id)
    if (row && row.state !== 'Failed') continue
    if (row?.reason === STEPS.lost.reason) {
      moveSnapshot(deps, id, 'found', { sizeBytes, digest })
      continue
    }
    try {
      await runtime.remove(id, AbortSignal.any([lives.signal, AbortSignal.timeout(REMOVE_TIMEOUT_MS)]))
      lives.log.info('removed a snapshot that nobody knows of', { snapshot: id })
    } catch (error) {
      // The next comparison finds it again.
      lives.log.warn('a snapshot that nobody knows of could not be removed yet', {
        snapshot: id,
        error: messageOf(error),
      })
    }
  }
}

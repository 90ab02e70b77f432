// Makes the rows of snapshots and what the runtime has agree.
//
//   row                     runtime    outcome
//   Creating, unsettled     whole      Ready
//   Creating, unsettled     nothing    Failed
//   Ready                   nothing    Failed: somebody has removed it
//   Failed for that         whole      Ready: it was not to be found for a while, as by another daemon
//   Failed otherwise        whole      removed: it came too late
//   none                    whole      removed, but not before a week has passed
//
// What is worked at is left alone. A row is there before its snapshot and goes after it: one without a row is not ours to judge at once. An
// older database may have been restored, and the newer one may come back.

import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Snapshots } from '../runtime/snapshots.ts'
import { moveSnapshot } from './move.ts'
import { STEPS } from './steps.ts'
import type { SnapshotDeps } from './take.ts'

const LIST_TIMEOUT_MS = 30_000
const REMOVE_TIMEOUT_MS = 60_000

/** How long one without a row is kept, from when it was seen first. */
export const UNKNOWN_KEPT_MS = 7 * 86_400_000

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
    const { sizeBytes, digest = null, isWhole = false } = found.get(id) ?? {}
    if (sizeBytes !== undefined)
      moveSnapshot(deps, id, 'recovered', { sizeBytes, digest, ...(isWhole && { parent: null }) })
    else
      moveSnapshot(deps, id, 'not_recovered', {
        message: 'The server was stopped while the snapshot was taken: take it again',
      })
    unsettled.delete(id)
  }
  for (const { id } of ready)
    if (!found.has(id) && !isBusy(id))
      moveSnapshot(deps, id, 'lost', { message: 'What it was made of is not there any more' })
  const unknown: string[] = []
  for (const [id, { sizeBytes, digest = null }] of found) {
    if (isBusy(id)) continue
    const row = snapshots.get(id)
    if (!row) unknown.push(id)
    else if (row.state !== 'Failed') continue
    else if (row.reason === STEPS.lost.reason) moveSnapshot(deps, id, 'found', { sizeBytes, digest })
    else await removeNeedless(deps, runtime, id)
  }
  for (const id of dueOf(deps, unknown)) await removeNeedless(deps, runtime, id)
}

/** Those of the unknown ones that have been kept long enough. Tells of those that are seen for the first time. */
function dueOf({ lives, snapshots }: SnapshotDeps, unknown: readonly string[]): string[] {
  const now = lives.now()
  const { fresh, old } = snapshots.noteUnknown(unknown, { at: now, since: now - UNKNOWN_KEPT_MS })
  if (fresh.length > 0)
    lives.log.warn('there are snapshots that the database does not know; they are kept for a week', {
      count: fresh.length,
      first: fresh[0],
      until: formatTime(now + UNKNOWN_KEPT_MS),
    })
  return old
}

async function removeNeedless({ lives }: SnapshotDeps, runtime: Snapshots, id: string): Promise<void> {
  try {
    await runtime.remove(id, AbortSignal.any([lives.signal, AbortSignal.timeout(REMOVE_TIMEOUT_MS)]))
    lives.log.info('removed a snapshot that nobody needs', { snapshot: id })
  } catch (error) {
    // The next comparison finds it again.
    lives.log.warn('a snapshot that nobody needs could not be removed yet', {
      snapshot: id,
      error: messageOf(error),
    })
  }
}

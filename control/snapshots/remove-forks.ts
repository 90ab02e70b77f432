import { SNAPSHOT_STATES } from '../../lib/api/snapshots.ts'
import { messageOf } from '../../lib/errors.ts'
import { removeSandbox } from '../sandbox/change.ts'
import type { Lives } from '../sandbox/lives.ts'
import type { SnapshotDeps } from './take.ts'

/** Removes sandboxes of a fork that came to nothing. What cannot be removed now is tried again. */
export async function removeForks(lives: Lives, ids: readonly string[]): Promise<void> {
  await Promise.all(
    ids.map((id) =>
      removeSandbox(lives, id, 'FORK_FAILED').catch((error) => {
        lives.log.error('a sandbox of a fork that failed could not be removed yet', {
          sandbox: id,
          error: messageOf(error),
        })
        lives.doubts.add(id, lives.now())
      }),
    ),
  )
}

/** Removes what forks have left that an earlier process had begun; they are named by their hidden snapshots. */
export async function endForks({ lives, snapshots }: SnapshotDeps, ids: readonly string[]): Promise<void> {
  for (const id of ids)
    try {
      await removeForks(lives, snapshots.usersOf(id))
      snapshots.move(id, SNAPSHOT_STATES, { inFork: false })
    } catch (error) {
      // The next start finds it again.
      lives.log.error('a fork that was interrupted could not be ended', {
        snapshot: id,
        error: messageOf(error),
      })
    }
}

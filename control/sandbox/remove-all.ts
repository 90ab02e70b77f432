import { messageOf } from '../../lib/errors.ts'
import { eachOf } from '../async.ts'
import { removeSandbox } from './change.ts'
import type { Lives } from './lives.ts'

/** After this long no further removal is begun; the next start finds what is left. */
const REMOVE_ALL_MS = 30_000
/** What a sandbox has at most between TERM and KILL, whatever is configured: who stops the program waits. */
const LONGEST_LAST_GRACE_MS = 15_000
/** So many are removed side by side. */
const WIDTH = 8

/** Removes every sandbox, before the program ends; what could not be removed is in the log. */
export async function removeAll(lives: Lives): Promise<void> {
  const deadline = AbortSignal.timeout(REMOVE_ALL_MS)
  const { settings, store } = lives
  const hurried: Lives = {
    ...lives,
    settings: { ...settings, stopGraceMs: Math.min(settings.stopGraceMs, LONGEST_LAST_GRACE_MS) },
  }
  await eachOf(
    store.all().map(({ id }) => id),
    WIDTH,
    async (id) => {
      if (deadline.aborted) return
      try {
        await removeSandbox(hurried, id, 'SERVER_STOPPED')
      } catch (error) {
        lives.log.error('sandbox could not be removed', { sandbox: id, error: messageOf(error) })
      }
    },
  )
}

import { messageOf } from '../../lib/errors.ts'
import { backoffMs } from '../async.ts'
import type { Lives } from './lives.ts'
import { clearVolumes } from './named-volumes.ts'
import { Wake } from './wake.ts'

const LIST_TIMEOUT_MS = 30_000
/** How often is looked for what was asked for and never made. */
const EVERY_MS = 60_000
const AFTER_FAILURE = { firstMs: 500, longestMs: 5000 }

/**
 * Removes volumes that nobody has any more, until `lives.signal` aborts: what an earlier process has left at once, then whatever is
 * given up.
 */
export async function runVolumes(lives: Lives): Promise<void> {
  const { store, runtime, signal, log } = lives
  if (!runtime.volumes) return
  const wake = new Wake()
  const stopWatching = store.volumes.watch(() => wake.call())
  let failures = 0
  try {
    await tellUnknown(lives)
    while (!signal.aborted) {
      try {
        failures = (await clearVolumes(lives)).isDone ? 0 : failures + 1
      } catch (error) {
        failures += 1
        log.error('volumes could not be looked at; it is tried again', { error: messageOf(error) })
      }
      await wake.wait(signal, failures === 0 ? EVERY_MS : backoffMs(AFTER_FAILURE, failures, Math.random()))
    }
  } finally {
    stopWatching()
  }
}

/** Of volumes without a row somebody else may know, such as a backup that is still to be restored: they are named and left alone. */
async function tellUnknown({ store, runtime, signal, log }: Lives): Promise<void> {
  try {
    const known = new Set(store.volumes.keys())
    const found = await runtime.volumes?.list(AbortSignal.any([signal, AbortSignal.timeout(LIST_TIMEOUT_MS)]))
    const unknown = found?.filter((key) => !known.has(key)) ?? []
    if (unknown.length > 0)
      log.warn('there are volumes that the database does not know; they are left alone', {
        count: unknown.length,
        first: unknown[0],
      })
  } catch (error) {
    if (!signal.aborted) log.warn('volumes could not be listed', { error: messageOf(error) })
  }
}

import { messageOf } from '../../lib/errors.ts'
import { backoffMs, pause } from '../async.ts'
import type { Lives } from './lives.ts'
import { clearVolumes } from './named-volumes.ts'
import { VolumeSizes } from './volume-sizes.ts'
import { Wake } from './wake.ts'

const LIST_TIMEOUT_MS = 30_000
/** How often is looked for what was asked for and never made, and for sizes that are old. */
const EVERY_MS = 60_000
const AFTER_FAILURE = { firstMs: 500, longestMs: 5000 }

/** Removes volumes that nobody has any more, and finds out how large those are that count, until `lives.signal` aborts. */
export async function runVolumes(lives: Lives): Promise<void> {
  if (lives.runtime.volumes) await Promise.all([clear(lives), count(lives)])
}

/** One walk through everything takes as long as it takes; what is to be removed does not wait for it. */
async function count(lives: Lives): Promise<void> {
  const { signal, log } = lives
  const sizes = new VolumeSizes(lives)
  while (!signal.aborted) {
    try {
      await sizes.count()
    } catch (error) {
      log.error('sizes of volumes could not be counted; it is tried again', { error: messageOf(error) })
    }
    await pause(EVERY_MS, signal)
  }
}

/** What an earlier process has left goes at once, then whatever is given up. */
async function clear(lives: Lives): Promise<void> {
  const { store, signal, log } = lives
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

// Keeps the database small: removes what has been kept long enough, takes the write-ahead log into the file, and gives pages
// that hold nothing back to the disk. Everything in slices, so that no request waits for it.

import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { pause } from '../async.ts'
import type { Checkpointer } from '../store/checkpointer.ts'
import type { Database } from '../store/database.ts'
import { pendingLogOf } from '../store/figures.ts'
import {
  canShrink,
  countPages,
  KEPT_FOR_A_TIME,
  type KeptForATime,
  ownersBeyond,
  prune,
  shrink,
  trim,
} from '../store/retention.ts'
import { FIRST_SLICE, nextSlice, pauseAfter } from './slices.ts'

/** How long what is kept. */
export type Retention = Record<KeptForATime, number>

export type UpkeepDeps = {
  database: Database
  /** In milliseconds; for ever when absent. */
  retention?: Retention
  /** Of each kind that is kept of what a tenant did, at most so much, the newest; without a bound when absent. */
  maxBytesOfTenant?: number
  checkpointer: Pick<Checkpointer, 'checkpoint'>
  log: Logger
  now: () => number
  /** From 0 up to 1, for the jitter. */
  random: () => number
  signal: AbortSignal
}

export type UpkeepTimes = { everyMs?: number; firstPauseMs?: number; walEveryMs?: number }

/** As large the log may become before it is taken into the file. */
const WAL_BYTES = 4 << 20
/** A checkpoint is asked for so often in a row when there was much writing beside it. */
const CHECKPOINTS = 5
/** A file is shrunk when so many pages, and a quarter of all, hold nothing: a few are soon used again. */
const FREE_PAGES = 1024

/** Does all of it now and again, until the signal aborts. */
export async function runUpkeep(
  deps: UpkeepDeps,
  { everyMs = 60_000, firstPauseMs = 5000, walEveryMs = 1000 }: UpkeepTimes = {},
): Promise<void> {
  const { log, random, signal } = deps
  const repeat = async (what: string, ms: number, work: () => Promise<void>) => {
    while (!signal.aborted) {
      try {
        await work()
      } catch (error) {
        log.warn(`${what}; it is tried again`, { error: messageOf(error) })
        // What failed will fail again in a moment; the disk may be full.
        await pause(firstPauseMs, signal)
      }
      // Programs that were started together do not all do it together.
      await pause(ms * (0.8 + 0.4 * random()), signal)
    }
  }
  await pause(firstPauseMs * (0.8 + 0.4 * random()), signal)
  await Promise.all([
    repeat('what is old could not be removed', everyMs, () => tidy(deps)),
    repeat('the log of the database could not be taken into it', walEveryMs, () => shortenWal(deps)),
  ])
}

/** Removes everything that has been kept long enough, then gives back what that has freed. */
export async function tidy(deps: UpkeepDeps): Promise<void> {
  const { database, retention, maxBytesOfTenant, log, signal } = deps
  if (retention) await pruneAll(deps, retention)
  if (maxBytesOfTenant !== undefined) await trimAll(deps, maxBytesOfTenant)
  const { free, all } = countPages(database)
  if (free < FREE_PAGES || free * 4 < all || !canShrink(database)) return
  const pages = await inSlices(signal, (size) => shrink(database, size))
  log.info('gave room back to the disk', { pages })
}

async function pruneAll({ database, log, now, signal }: UpkeepDeps, retention: Retention): Promise<void> {
  for (const what of KEPT_FOR_A_TIME) {
    const before = now() - retention[what]
    const count = await inSlices(signal, (size) => prune(database, what, before, size))
    if (count > 0) log.debug('removed what was kept long enough', { what, count })
  }
}

async function trimAll({ database, log, signal }: UpkeepDeps, maxBytes: number): Promise<void> {
  for (const { what, owner } of ownersBeyond(database, maxBytes)) {
    let count = 0
    // A slice that was smaller than it might be says that it is nearly done: rows are not all of one size.
    for (let left = true; left && !signal.aborted; ) {
      const done = await inSlices(signal, (limit) => trim(database, { what, owner, maxBytes, limit }))
      count += done
      left = done > 0
    }
    if (count > 0) log.warn('removed before its time, as there was too much of it', { what, owner, count })
  }
}

/** Takes the log into the file when it has become large. */
export async function shortenWal({ database, checkpointer, signal }: UpkeepDeps): Promise<void> {
  if (pendingLogOf(database) < WAL_BYTES) return
  for (let done = 0; done < CHECKPOINTS && !signal.aborted; done++) {
    // Only a log that is in the file to its last page is begun anew.
    const { left } = await checkpointer.checkpoint()
    if (left === 0) return
  }
}

/** Does `work`, which is told how much and says how much it was, until there is nothing left to do. Returns how much it was. */
async function inSlices(signal: AbortSignal, work: (size: number) => number): Promise<number> {
  let total = 0
  for (let size = FIRST_SLICE; !signal.aborted; ) {
    const began = performance.now()
    const done = work(size)
    const tookMs = performance.now() - began
    total += done
    if (done < size) break
    size = nextSlice(size, tookMs)
    await pause(pauseAfter(tookMs), signal)
  }
  return total
}

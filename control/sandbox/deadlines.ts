// The clock of all sandboxes: one timer, set to the earliest deadline there is, however many sandboxes exist (design D5). A
// deadline is a column, so a restart forgets none and a renewal is only a write.

import { messageOf } from '../../lib/errors.ts'
import { expireSandbox } from './change.ts'
import type { Lives } from './lives.ts'
import { eachOf, pause } from './reconcile.ts'

/** Timers of the platform cannot wait longer than 2^31 ms, and the clock of the machine may be set anew meanwhile. */
const LONGEST_WAIT_MS = 30_000
const SHORTEST_WAIT_MS = 5
const AFTER_FAILURE_MS = 1000
const BATCH = 100
const WIDTH = 16

/** Removes sandboxes whose time is over, until `lives.signal` aborts. Resolves once the last removal it began has ended. */
export async function runDeadlines(lives: Lives): Promise<void> {
  const { store, now, signal, log } = lives
  let wake = () => {}
  let waitingFor = Number.POSITIVE_INFINITY
  const stopWatching = store.watch(({ row }) => {
    if (row?.expiresAt != null && row.expiresAt < waitingFor) wake()
  })
  const onAbort = () => wake()
  signal.addEventListener('abort', onAbort)
  const running = new Set<string>()
  const removals = new Set<Promise<void>>()
  try {
    while (!signal.aborted) {
      const due = store.due(now(), BATCH + running.size).filter((id) => !running.has(id))
      for (const id of due) running.add(id)
      const batch = eachOf(due, WIDTH, async (id) => {
        try {
          await expireSandbox(lives, id)
        } catch (error) {
          log.error('an expired sandbox could not be removed yet', { sandbox: id, error: messageOf(error) })
          lives.doubts.add(id, now())
          // The reconciler goes on with it; until then this clock must not ask again at once.
          await pause(AFTER_FAILURE_MS, signal)
        } finally {
          running.delete(id)
        }
      })
      removals.add(batch)
      void batch.then(() => removals.delete(batch))
      if (due.length === BATCH) await batch
      waitingFor = nextAfter(lives, running)
      const waitMs = Math.min(Math.max(waitingFor - now(), SHORTEST_WAIT_MS), LONGEST_WAIT_MS)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
        if (signal.aborted) wake()
      })
    }
  } finally {
    stopWatching()
    signal.removeEventListener('abort', onAbort)
    await Promise.all(removals)
  }
}

/** The next deadline that is not being dealt with already. */
function nextAfter({ store, now }: Lives, running: Set<string>): number {
  const next = store.nextDeadline() ?? Number.POSITIVE_INFINITY
  // Those that are being removed are still in the table for a moment; looking again soon is enough then.
  return next <= now() && running.size > 0 ? now() + 250 : next
}

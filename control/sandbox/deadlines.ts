// The clock of all sandboxes: one timer, set to the earliest deadline there is, however many sandboxes exist (design D5). A
// deadline is a column, so a restart forgets none and a renewal is only a write. What is due is done side by side, and one that
// takes long holds up nobody else.

import { messageOf } from '../../lib/errors.ts'
import { pause } from '../async.ts'
import { idleAtOf } from './activity.ts'
import { expireSandbox, pauseIdleSandbox } from './change.ts'
import type { Lives } from './lives.ts'
import { Wake } from './wake.ts'

/** Timers of the platform cannot wait longer than 2^31 ms, and the clock of the machine may be set anew meanwhile. */
const LONGEST_WAIT_MS = 30_000
const SHORTEST_WAIT_MS = 5
const AFTER_FAILURE_MS = 1000
/** So many are dealt with at once. */
const WIDTH = 32
const NEVER = Number.POSITIVE_INFINITY

/** Ends or pauses sandboxes whose time is over, until `lives.signal` aborts. Resolves once the last of it has ended. */
export async function runDeadlines(lives: Lives): Promise<void> {
  const { store, now, signal } = lives
  const wake = new Wake()
  const running = new Map<string, Promise<void>>()
  // By the clock that nobody sets, as what is waited for stays as far away when the other one jumps.
  let waitsUntil = 0
  const stopWatching = store.watch(({ row }) => {
    if (!row) return
    const next = Math.min(row.expiresAt ?? NEVER, idleAtOf(row) ?? NEVER)
    if (performance.now() + next - now() < waitsUntil) wake.call()
  })
  const begin = (id: string, what: (lives: Lives, id: string) => Promise<void>, trouble: string) => {
    const work = attempt(lives, { id, what, trouble }).finally(() => {
      running.delete(id)
      wake.call()
    })
    running.set(id, work)
  }
  try {
    while (!signal.aborted) {
      let waitMs = AFTER_FAILURE_MS
      try {
        // Those under way are still in the table.
        for (const id of store.deadlines.due(now(), WIDTH))
          if (running.size < WIDTH && !running.has(id))
            begin(id, expireSandbox, 'an expired sandbox could not be removed yet')
        for (const id of store.deadlines.dueIdle(now(), WIDTH))
          if (running.size < WIDTH && !running.has(id))
            begin(id, pauseIdleSandbox, 'an idle sandbox could not be paused')
        waitMs = running.size < WIDTH ? nextIn(lives, running) : LONGEST_WAIT_MS
      } catch (error) {
        lives.log.error('deadlines could not be read; it is tried again', { error: messageOf(error) })
      }
      waitsUntil = performance.now() + waitMs
      await wake.wait(signal, waitMs)
    }
  } finally {
    stopWatching()
    await Promise.all(running.values())
  }
}

type Attempt = { id: string; what: (lives: Lives, id: string) => Promise<void>; trouble: string }

async function attempt(lives: Lives, { id, what, trouble }: Attempt): Promise<void> {
  try {
    await what(lives, id)
  } catch (error) {
    lives.log.error(trouble, { sandbox: id, error: messageOf(error) })
    lives.doubts.add(id, lives.now())
    // The reconciler goes on with it; until then this clock must not ask again at once.
    await pause(AFTER_FAILURE_MS, lives.signal)
  }
}

/** Milliseconds until something is due that is not being dealt with. */
function nextIn({ store, now }: Lives, running: ReadonlyMap<string, unknown>): number {
  const next = store.deadlines.next(running.size + 1).filter(({ id }) => !running.has(id))
  const at = Math.min(...next.map(({ at }) => at))
  return Math.min(Math.max(at - now(), SHORTEST_WAIT_MS), LONGEST_WAIT_MS)
}

// The clock of all sandboxes: one timer, set to the earliest deadline there is, however many sandboxes exist. A
// deadline is a column, so a restart forgets none and a renewal is only a write. What is due is done side by side, and one that
// takes long holds up nobody else, nor does a tenant of whom many are due.

import { messageOf } from '../../lib/errors.ts'
import { Lanes } from '../../lib/lanes.ts'
import { pause } from '../async.ts'
import { idleAtOf } from './activity.ts'
import { expireSandbox, pauseIdleSandbox } from './change.ts'
import type { Lives } from './lives.ts'
import { Wake } from './wake.ts'

/** Timers of the platform cannot wait longer than 2^31 ms, and the clock of the machine may be set anew meanwhile. */
const LONGEST_WAIT_MS = 30_000
const SHORTEST_WAIT_MS = 5
const AFTER_FAILURE_MS = 1000
/** So many are dealt with at once, of one tenant at most half as many. */
const LANES = 64
const NEVER = Number.POSITIVE_INFINITY

/** Ends or pauses sandboxes whose time is over, until `lives.signal` aborts. Resolves once the last of it has ended. */
export async function runDeadlines(lives: Lives): Promise<void> {
  const { store, now, signal } = lives
  const wake = new Wake()
  const running = new Map<string, Promise<void>>()
  const lanes = new Lanes(LANES)
  // By the clock that nobody sets, as what is waited for stays as far away when the other one jumps.
  let waitsUntil = 0
  const stopWatching = store.watch(({ row }) => {
    if (!row) return
    const next = Math.min(row.expiresAt ?? NEVER, idleAtOf(row) ?? NEVER)
    if (performance.now() + next - now() < waitsUntil) wake.call()
  })
  const begin = (due: Attempt, tenant: string) => {
    const leave = lanes.take(tenant)
    const work = attempt(lives, due).finally(() => {
      running.delete(due.id)
      leave()
      wake.call()
    })
    running.set(due.id, work)
  }
  const beginDue = () => {
    const found = findDue(lives, { limit: LANES + running.size, except: lanes.full() })
    let begun = 0
    for (const due of found) {
      // One that is being paused is still in the table.
      const tenant = running.has(due.id) ? undefined : store.get(due.id)?.tenant
      if (tenant === undefined || !lanes.isOpenTo(tenant)) continue
      begin(due, tenant)
      begun++
    }
    return begun
  }
  try {
    while (!signal.aborted) {
      let waitMs = AFTER_FAILURE_MS
      try {
        // Behind many of one tenant are those of the others.
        while (lanes.free > 0 && beginDue() > 0);
        waitMs = lanes.free > 0 ? nextIn(lives, running, lanes.full()) : LONGEST_WAIT_MS
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

/** What is due, the most overdue first, without that of those who may have no more for now. */
function findDue({ store, now }: Lives, { limit, except }: { limit: number; except: string[] }): Attempt[] {
  const expired = store.deadlines.due(now(), limit, except)
  const idle = store.deadlines.dueIdle(now(), limit, except)
  return [
    ...expired.map((id) => ({
      id,
      what: expireSandbox,
      trouble: 'an expired sandbox could not be removed yet',
    })),
    ...idle.map((id) => ({ id, what: pauseIdleSandbox, trouble: 'an idle sandbox could not be paused' })),
  ]
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

/** Milliseconds until something is due that is not being dealt with, and could be. */
function nextIn({ store, now }: Lives, running: ReadonlyMap<string, unknown>, except: string[]): number {
  const next = store.deadlines.next(running.size + 1, except).filter(({ id }) => !running.has(id))
  const at = Math.min(...next.map(({ at }) => at))
  return Math.min(Math.max(at - now(), SHORTEST_WAIT_MS), LONGEST_WAIT_MS)
}

// Doing something again and again by a schedule, never twice at once: what is due while the last run still goes on is skipped.
// Times that have passed unseen, while the sandbox was paused, are one run and not many.

import { setTimeout as delay } from 'node:timers/promises'
import { nextRun, type Schedule, type Zone } from '../../lib/schedule.ts'

/** The machine's clock may be set meanwhile, so no wait is longer. */
const LONGEST_WAIT_MS = 3_600_000

/** A test has a clock of its own. */
export type Clock = {
  now(): number
  /** Resolves after a while, or when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

export const realClock: Clock = {
  now: Date.now,
  sleep: async (ms, signal) => {
    // The end of the wait is all that matters; its caller asks the signal.
    await delay(ms, undefined, { signal }).catch(() => {})
  },
}

export type PeriodicOptions = {
  schedule: Schedule
  zone: Zone
  clock: Clock
  /** Ends the repetition; a run that goes on is the caller's to end. */
  signal: AbortSignal
  run(): Promise<void>
  onSkip(): void
}

/** Runs by a schedule until `signal` aborts, or no time is left in it. */
export async function runPeriodically(options: PeriodicOptions): Promise<void> {
  const { schedule, zone, clock, signal, run, onSkip } = options
  let isRunning = false
  let due = nextRun(schedule, clock.now(), zone)
  while (due !== undefined && !signal.aborted) {
    const waitMs = due - clock.now()
    if (waitMs > 0) {
      await clock.sleep(Math.min(waitMs, LONGEST_WAIT_MS), signal)
      continue
    }
    if (isRunning) onSkip()
    else {
      isRunning = true
      void run().finally(() => {
        isRunning = false
      })
    }
    const next = nextRun(schedule, due, zone)
    due = next !== undefined && next <= clock.now() ? nextRun(schedule, clock.now(), zone) : next
  }
}

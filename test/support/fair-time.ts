// Time that a machine with other things to do, or one that stood still, does not take from who is measured.

import { readFileSync } from 'node:fs'

const TICK_MS = 50
/** Of every Linux that we run on (sysconf(_SC_CLK_TCK)). */
const TICKS_PER_SECOND = 100

/** What `work` takes of the processor: waiting for it does not count. */
export function processorMs(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

/** What another process has taken of the processor so far. */
export function processorMsOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // Behind the name, which may hold spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND
}

/** A clock that goes by the turns of this process: a stop of everything is one turn, however long. */
export function startFairClock(): { elapsedMs(): number; [Symbol.dispose](): void } {
  let ticks = 0
  const timer = setInterval(() => {
    ticks++
  }, TICK_MS)
  return { elapsedMs: () => ticks * TICK_MS, [Symbol.dispose]: () => clearInterval(timer) }
}

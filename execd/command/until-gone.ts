// Ending processes of which nobody tells when the last one goes: signal after signal to all that are found, until none is.

import { systemCodeOf } from '../../lib/errors.ts'
import { pause } from '../timer.ts'

/** Looking at every process costs something: the steps between grow from the first of these to the last. */
const FIRST_STEP_MS = 5
const FIRST_KILL_STEP_MS = 1
const MAX_STEP_MS = 50

export type Target = { pid: number; startTime: number }

export type Ending<Found extends Target> = {
  /** The signals before KILL, each with the time until the next one. */
  warnings: [name: NodeJS.Signals, forMs: number][]
  /** How long KILL is repeated. */
  killMs: number
  /** Those that are known already, who need not wait for the first look. */
  known?: Found[]
  /** The living that are left. */
  look: () => Found[] | Promise<Found[]>
  /** How KILL is sent, when not to each. */
  kill?: (found: Found[]) => void
}

/**
 * Sends each signal once to everyone, and KILL at every look, as what is being started meanwhile is only seen at the next one.
 * True when nothing is left, false when something is that even KILL does not end.
 */
export async function endUntilGone<Found extends Target>(ending: Ending<Found>): Promise<boolean> {
  const { warnings, killMs, known = [], look } = ending
  const kill = ending.kill ?? ((found) => found.forEach(({ pid }) => void sendSignal(pid, 'SIGKILL')))
  for (const [index, [name, forMs]] of [...warnings, ['SIGKILL', killMs] as const].entries()) {
    const told = new Set<string>()
    const tell = (found: Found[]) => {
      if (name === 'SIGKILL') return kill(found)
      for (const { pid, startTime } of found) {
        const key = `${pid} ${startTime}`
        if (told.has(key)) continue
        told.add(key)
        sendSignal(pid, name)
        // What is stopped hears of it only when it goes on.
        sendSignal(pid, 'SIGCONT')
      }
    }
    const deadline = performance.now() + forMs
    if (index === 0 && known.length > 0) tell(known)
    for (let step = name === 'SIGKILL' ? FIRST_KILL_STEP_MS : FIRST_STEP_MS; ; ) {
      const found = await look()
      if (found.length === 0) return true
      tell(found)
      const left = deadline - performance.now()
      if (left <= 0) break
      await pause(Math.min(step, left))
      step = Math.min(step * 2, MAX_STEP_MS)
    }
  }
  return (await look()).length === 0
}

/** To a process, or to a group by its negated number. False when there is none. */
export function sendSignal(target: number, signal: NodeJS.Signals | 0): boolean {
  // Group 0 is our own, -1 would address every process there is, and 1 is the first of the sandbox.
  if (!Number.isInteger(target) || Math.abs(target) <= 1) throw new Error(`Cannot signal ${target}`)
  try {
    process.kill(target, signal)
    return true
  } catch (error) {
    // EPERM: members exist, but belong to someone else.
    if (systemCodeOf(error) === 'EPERM') return true
    if (systemCodeOf(error) === 'ESRCH') return false
    throw error
  }
}

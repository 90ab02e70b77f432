// The one way a process group ends: TERM, grace, KILL. A group lives on after its leader as long as one member does, and
// nobody tells when the last one goes, so the wait asks the kernel in small steps. The number of a group is not given to
// another one while a member lives, and we stop asking at the first "no such process".

import { systemCodeOf } from '../../lib/errors.ts'

const STEP_MS = 20

export type EndOptions = {
  /** From TERM to KILL; 0 sends KILL at once. */
  graceMs: number
}

/** Ends every process of the group `pgid` and resolves when none is left, or when KILL has been sent to what was. */
export async function endGroup(pgid: number, { graceMs }: EndOptions): Promise<void> {
  if (graceMs > 0 && signalGroup(pgid, 'SIGTERM')) {
    const deadline = performance.now() + graceMs
    while (performance.now() < deadline) {
      await pause(Math.min(STEP_MS, graceMs))
      if (!isGroupAlive(pgid)) return
    }
  }
  signalGroup(pgid, 'SIGKILL')
}

/**
 * Ends a process that looks after its own children, as the main process of a container does: TERM to it alone, and KILL to
 * its whole group when it has ended or the grace is over.
 */
export async function endLeader(pid: number, ended: Promise<unknown>, graceMs: number): Promise<void> {
  if (graceMs > 0 && send(pid, 'SIGTERM')) {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, graceMs)
    })
    await Promise.race([ended, late])
    clearTimeout(timer)
  }
  signalGroup(pid, 'SIGKILL')
}

/** Sends a signal to every process of a group. False when there is none. */
export function signalGroup(pgid: number, name: NodeJS.Signals): boolean {
  return send(-pgid, name)
}

/** Whether a group has a member, a zombie included. */
export function isGroupAlive(pgid: number): boolean {
  return send(-pgid, 0)
}

/** To a process, or to a group by its negated number. */
function send(target: number, signal: NodeJS.Signals | 0): boolean {
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

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

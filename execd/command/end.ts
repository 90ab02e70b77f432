// The ways in which processes end: TERM, grace, KILL. A group lives on after its leader as long as one member does, and nobody
// tells when the last one goes, so the wait asks the kernel in small steps. The number of a group is not given to another one
// while a member lives, and we stop asking at the first "no such process".

import { pause } from '../timer.ts'
import { findMembers, type Member, type Origin } from './belonging.ts'
import type { ProcessScanner } from './process-scanner.ts'
import { endUntilGone, sendSignal } from './until-gone.ts'

const STEP_MS = 20
/** How long KILL is sent again to what is left, such as a process in a broken device, or one that starts others as fast. */
const KILL_DEADLINE_MS = 5000

export type EndOptions = {
  /** From TERM to KILL; 0 sends KILL at once. */
  graceMs: number
}

/**
 * Ends all that belongs to `origin`, wherever it has gone to, and resolves when nothing is left. False when something is left that
 * even KILL does not end.
 */
export async function endAllOf(
  origin: Origin,
  { graceMs }: EndOptions,
  scanner: ProcessScanner,
): Promise<boolean> {
  // Neither we, nor who started us and starts us again, nor the first of all.
  const spared = new Set([1, process.pid, process.ppid])
  return endUntilGone<Member>({
    warnings: graceMs > 0 ? [['SIGTERM', graceMs]] : [],
    killMs: KILL_DEADLINE_MS,
    // To look into the processes of other users takes a while, which those that are known need not wait for.
    known: findMembers(scanner.peek(), origin, spared),
    look: async () => findMembers(await scanner.scan(), origin, spared),
    kill,
  })
}

/** Whole groups where all of it belongs: a group dies at once, while one by one its members could start others as fast. */
function kill(members: Member[]): void {
  const groups = new Set<number>()
  for (const { pid, group, ownsGroup } of members) {
    if (ownsGroup && group > 1) groups.add(group)
    else sendSignal(pid, 'SIGKILL')
  }
  for (const group of groups) signalGroup(group, 'SIGKILL')
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
  if (graceMs > 0 && sendSignal(pid, 'SIGTERM')) {
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
  return sendSignal(-pgid, name)
}

/** Whether a group has a member, a zombie included. */
function isGroupAlive(pgid: number): boolean {
  return sendSignal(-pgid, 0)
}

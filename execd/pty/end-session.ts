// Ending all that runs on a terminal: a shell puts every job into a group of its own, so it is the session of processes that
// ends, not a group. First HUP, as when a window is closed, then TERM for what has a reason to stay, then KILL.

import { isDead, type ProcessEntry, readProcesses } from '../command/process-table.ts'

const STEP_MS = 10
/** What ends at the end of its terminal needs no more than this. */
const HANGUP_MS = 200
/** How long KILL is repeated: what is being started meanwhile is only seen at the next look. */
const KILL_MS = 2000

/** Ends every process of a session and resolves when none is left, or when KILL does not help. */
export async function endSession(session: number, graceMs: number): Promise<void> {
  const steps: [NodeJS.Signals, number][] =
    graceMs > 0
      ? [
          ['SIGHUP', Math.min(HANGUP_MS, graceMs)],
          ['SIGTERM', Math.max(0, graceMs - HANGUP_MS)],
          ['SIGKILL', KILL_MS],
        ]
      : [['SIGKILL', KILL_MS]]
  for (const [name, forMs] of steps) if (await signalUntilGone(session, name, forMs)) return
}

/** The living processes of a session. */
export function membersOf(session: number): ProcessEntry[] {
  return readProcesses().filter((entry) => entry.session === session && !isDead(entry))
}

/** Sends a signal once to each member, and KILL at each look. True when no member is left. */
async function signalUntilGone(session: number, name: NodeJS.Signals, forMs: number): Promise<boolean> {
  const told = new Set<string>()
  const deadline = performance.now() + forMs
  while (true) {
    const members = membersOf(session)
    if (members.length === 0) return true
    for (const { pid, startTime } of members) {
      if (told.has(`${pid} ${startTime}`) && name !== 'SIGKILL') continue
      told.add(`${pid} ${startTime}`)
      send(pid, name)
      // A stopped job would not hear it.
      if (name !== 'SIGKILL') send(pid, 'SIGCONT')
    }
    if (performance.now() >= deadline) return false
    await new Promise((resolve) => setTimeout(resolve, STEP_MS))
  }
}

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended between the look and this.
  }
}

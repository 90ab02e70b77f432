// Ending all that runs on a terminal: a shell puts every job into a group of its own, so it is the session of processes that
// ends, not a group. First HUP, as when a window is closed, then TERM for what has a reason to stay, then KILL.

import { isDead, type ProcessEntry, readProcesses } from '../command/process-table.ts'
import { endUntilGone } from '../command/until-gone.ts'

/** What ends at the end of its terminal needs no more than this. */
const HANGUP_MS = 200
/** How long KILL is repeated. */
const KILL_MS = 2000

/** Ends every process of a session and resolves when none is left, or when KILL does not help. */
export async function endSession(session: number, graceMs: number): Promise<void> {
  const warnings: [NodeJS.Signals, number][] =
    graceMs > 0
      ? [
          ['SIGHUP', Math.min(HANGUP_MS, graceMs)],
          ['SIGTERM', Math.max(0, graceMs - HANGUP_MS)],
        ]
      : []
  await endUntilGone({ warnings, killMs: KILL_MS, look: () => membersOf(session) })
}

/** The living processes of a session. */
export function membersOf(session: number): ProcessEntry[] {
  return readProcesses().filter((entry) => entry.session === session && !isDead(entry))
}

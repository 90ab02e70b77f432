// Ending one run of a session and nothing else of it: what it has started hears INT and then KILL, and the shell is told to skip
// the rest of the code (execd/assets/isolated-shell.bash).

import { pause } from '../timer.ts'
import { findSessionProcesses, signalProcess, startedSince } from './processes.ts'
import { STOP_SIGNAL } from './shell.ts'

/** How long code may take to end by itself. */
const GRACE_MS = 500
/** After this it is not the run's processes that go on, but the shell itself, and nothing moves it. */
const DEADLINE_MS = 3000
const STEP_MS = 50

/**
 * Ends what has begun in a session since `ticks`, and with it the run that `over` tells the end of. Resolves when nothing of it is
 * left; to false when the run itself did not end within the deadline. `spared` is what runs in the background.
 */
export async function stopRun(
  initPid: number,
  { ticks, spared, over }: { ticks: number; spared: ReadonlySet<number>; over: AbortSignal },
): Promise<boolean> {
  const interrupted = new Set<number>()
  // Counted, and not read from a clock: while the sandbox is paused, or the machine stands still, nobody could have ended.
  for (let elapsedMs = 0; ; elapsedMs += STEP_MS) {
    const { shell, others } = findSessionProcesses(initPid)
    const left = startedSince(ticks, others, spared)
    if (over.aborted && left.length === 0) return true
    if (elapsedMs > DEADLINE_MS) return over.aborted
    // First the shell, so that it does not go on with the next command.
    if (shell && !over.aborted) signalProcess(shell.pid, STOP_SIGNAL)
    for (const { pid } of left) {
      if (elapsedMs > GRACE_MS) signalProcess(pid, 'SIGKILL')
      else if (!interrupted.has(pid)) signalProcess(pid, 'SIGINT')
      interrupted.add(pid)
    }
    await pause(STEP_MS)
  }
}

// Ending one run of a session and nothing else of it: what it has started hears INT and then KILL, and the shell is told to skip
// the rest of the code (execd/assets/isolated-shell.bash).

import { findSessionProcesses, signalProcess, startedSince } from './processes.ts'
import { STOP_SIGNAL } from './shell.ts'

/** How long code may take to end by itself. */
const GRACE_MS = 500
/** After this it is not the run's processes that go on, but the shell itself, and nothing moves it. */
const DEADLINE_MS = 3000
const STEP_MS = 50

/** Ends what has begun in a session since `ticks`; resolves to false when `over` did not abort within the deadline. */
export async function stopRun(initPid: number, ticks: number, over: AbortSignal): Promise<boolean> {
  const began = performance.now()
  const interrupted = new Set<number>()
  while (!over.aborted) {
    const elapsedMs = performance.now() - began
    if (elapsedMs > DEADLINE_MS) return false
    const { shell, others } = findSessionProcesses(initPid)
    // First the shell, so that it does not go on with the next command.
    if (shell) signalProcess(shell.pid, STOP_SIGNAL)
    for (const { pid } of startedSince(ticks, others)) {
      if (elapsedMs > GRACE_MS) signalProcess(pid, 'SIGKILL')
      else if (!interrupted.has(pid)) signalProcess(pid, 'SIGINT')
      interrupted.add(pid)
    }
    await new Promise((resolve) => setTimeout(resolve, STEP_MS))
  }
  return true
}

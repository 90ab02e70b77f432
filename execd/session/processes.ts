// The processes of one run, which end when it is ended before its time: those that the shell has started for it, with all their
// children, and what carries the run's mark, wherever it has gone to. What earlier runs have left in the background is not touched.

import { readFileSync } from 'node:fs'
import type { ProcessScanner, SeenProcess } from '../command/process-scanner.ts'
import { isDead, isRunning, readProcesses } from '../command/process-table.ts'
import { endUntilGone, sendSignal } from '../command/until-gone.ts'

/** How long KILL is repeated. */
const KILL_MS = 2000

export type RunOrigin = {
  shell: { pid: number; startTime: number }
  /** The shell's children of earlier runs. */
  earlier: ReadonlySet<number>
  /** The value of COMMAND_VARIABLE in the run. */
  mark: string
}

/** The children that a process has now. */
export function childrenOf(pid: number): Set<number> {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
    return new Set(text.split(' ').filter(Boolean).map(Number))
  } catch {
    // Not every kernel has this list.
    return new Set(
      readProcesses()
        .filter(({ parent }) => parent === pid)
        .map((child) => child.pid),
    )
  }
}

/** The living processes of a run, without the shell. `known`, by `keyOf`, are some that were its before. */
export function findRunProcesses(
  processes: SeenProcess[],
  origin: RunOrigin,
  known: ReadonlySet<string> = new Set(),
): SeenProcess[] {
  const { earlier, mark } = origin
  const byPid = new Map(processes.map((process) => [process.pid, process]))
  const members = new Set<number>()
  const belongs = (process: SeenProcess): boolean => {
    if (process.marks.command !== undefined && process.marks.command === mark) return true
    if (known.has(keyOf(process))) return true
    const parent = byPid.get(process.parent)
    if (!parent || parent.startTime > process.startTime) return false
    return members.has(parent.pid) || (isShell(parent, origin) && !earlier.has(process.pid))
  }
  const candidates = processes.filter((process) => !isShell(process, origin))
  for (let before = -1; before < members.size; ) {
    before = members.size
    for (const process of candidates)
      if (!members.has(process.pid) && belongs(process)) members.add(process.pid)
  }
  return candidates.filter((process) => members.has(process.pid) && !isDead(process))
}

export function keyOf({ pid, startTime }: Pick<SeenProcess, 'pid' | 'startTime'>): string {
  return `${pid} ${startTime}`
}

/** Ends the shell and all processes of the run: TERM, grace, KILL. Resolves when nothing is left, or when KILL does not help. */
export async function endRun(
  origin: RunOrigin,
  { graceMs }: { graceMs: number },
  scanner: ProcessScanner,
): Promise<void> {
  const known = new Set<string>()
  const find = (processes: SeenProcess[]): SeenProcess[] => {
    const found = findRunProcesses(processes, origin, known).filter(isOurs)
    for (const process of found) known.add(keyOf(process))
    // The shell last: whoever it waits for has heard by then.
    return [...found, ...processes.filter((process) => isShell(process, origin) && !isDead(process))]
  }
  // It must not go on to the next command when the one that it waits for ends.
  if (isRunning(origin.shell)) sendSignal(origin.shell.pid, 'SIGSTOP')
  await endUntilGone<SeenProcess>({
    warnings: graceMs > 0 ? [['SIGTERM', graceMs]] : [],
    killMs: KILL_MS,
    known: find(scanner.peek()),
    look: async () => find(await scanner.scan()),
  })
}

function isShell({ pid, startTime }: SeenProcess, { shell }: RunOrigin): boolean {
  return pid === shell.pid && startTime === shell.startTime
}

/** Never execd itself, nor who started it. */
function isOurs({ pid }: SeenProcess): boolean {
  return pid > 1 && pid !== process.pid && pid !== process.ppid
}

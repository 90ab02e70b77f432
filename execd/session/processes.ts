// The processes of one run, which end when it is ended before its time: those that the shell has started for it, with all their
// children, and what carries the run's mark, wherever it has gone to. What earlier runs have left in the background is not touched.

import { readFileSync } from 'node:fs'
import { systemCodeOf } from '../../lib/errors.ts'
import type { ProcessScanner, SeenProcess } from '../command/process-scanner.ts'
import { isDead, readProcess, readProcesses } from '../command/process-table.ts'

const STEP_MS = 10
/** Looking at every process costs something: the steps between grow to this. */
const MAX_STEP_MS = 50
/** How long KILL is repeated: what is being started meanwhile is only seen at the next look. */
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
  { shell, earlier, mark }: RunOrigin,
  known: ReadonlySet<string> = new Set(),
): SeenProcess[] {
  const byPid = new Map(processes.map((process) => [process.pid, process]))
  const isShell = ({ pid, startTime }: SeenProcess) => pid === shell.pid && startTime === shell.startTime
  const members = new Set<number>()
  const belongs = (process: SeenProcess): boolean => {
    if (process.marks.command !== undefined && process.marks.command === mark) return true
    if (known.has(keyOf(process))) return true
    const parent = byPid.get(process.parent)
    if (!parent || parent.startTime > process.startTime) return false
    return members.has(parent.pid) || (isShell(parent) && !earlier.has(process.pid))
  }
  const candidates = processes.filter((process) => !isShell(process))
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
  const told = new Set<string>()
  const tell = (processes: SeenProcess[], name: 'SIGTERM' | 'SIGKILL') => {
    for (const process of findRunProcesses(processes, origin, known)) {
      const key = keyOf(process)
      known.add(key)
      if (told.has(key) && name === 'SIGTERM') continue
      told.add(key)
      signal(process.pid, name)
      // What is stopped hears of it only when it goes on.
      if (name === 'SIGTERM') signal(process.pid, 'SIGCONT')
    }
  }
  const isOver = (processes: SeenProcess[]) =>
    findRunProcesses(processes, origin, known).length === 0 && !isShellAlive(origin)

  const first = graceMs > 0 ? 'SIGTERM' : 'SIGKILL'
  // It must not go on to the next command when the one that it waits for ends.
  signalShell(origin, 'SIGSTOP')
  tell(scanner.peek(), first)
  signalShell(origin, first)
  signalShell(origin, 'SIGCONT')
  const started = performance.now()
  for (let step = STEP_MS; ; step = Math.min(step * 2, MAX_STEP_MS)) {
    await new Promise((resolve) => setTimeout(resolve, step))
    const processes = await scanner.scan()
    if (isOver(processes)) return
    const passed = performance.now() - started
    if (passed < graceMs) tell(processes, 'SIGTERM')
    else {
      signalShell(origin, 'SIGKILL')
      tell(processes, 'SIGKILL')
    }
    if (passed > graceMs + KILL_MS) return
  }
}

function isShellAlive({ shell }: RunOrigin): boolean {
  const entry = readProcess(shell.pid)
  return entry !== undefined && entry.startTime === shell.startTime && !isDead(entry)
}

function signalShell(origin: RunOrigin, name: NodeJS.Signals): void {
  if (isShellAlive(origin)) signal(origin.shell.pid, name)
}

function signal(pid: number, name: NodeJS.Signals): void {
  if (pid <= 1 || pid === process.pid || pid === process.ppid) return
  try {
    process.kill(pid, name)
  } catch (error) {
    // ESRCH: it has ended since the look. EPERM: it has become someone else.
    const code = systemCodeOf(error)
    if (code !== 'ESRCH' && code !== 'EPERM') throw error
  }
}

// The processes of a session as execd sees them: numbers of its own, not those that they have inside.

import { readFileSync } from 'node:fs'
import { systemCodeOf } from '../../lib/errors.ts'
import { isDead, type ProcessEntry, readProcesses } from '../command/process-table.ts'

/** Ticks of `startTime` in a second (sysconf(_SC_CLK_TCK) of every Linux that we run on). */
const TICKS_PER_SECOND = 100

export type SessionProcesses = {
  /** The shell, when there is one. */
  shell?: ProcessEntry
  /** Everything else of the session but what keeps it going. */
  others: ProcessEntry[]
}

/** The processes below `initPid`, the first process of a session. */
export function findSessionProcesses(initPid: number, processes = readProcesses()): SessionProcesses {
  const below = descendantsOf(initPid, processes).filter((process) => !isDead(process))
  // The first one starts the loop, the loop the shell (shell.ts).
  const loop = firstChildOf(initPid, below)
  const shell = loop && firstChildOf(loop.pid, below)
  return {
    ...(shell ? { shell } : {}),
    others: below.filter(({ pid }) => pid !== loop?.pid && pid !== shell?.pid),
  }
}

/**
 * Those of `others` that have begun since `ticks`, but for what is, or is below, something older or one of `spared`, numbers as
 * the session has them.
 */
export function startedSince(
  ticks: number,
  others: ProcessEntry[],
  spared: ReadonlySet<number> = new Set(),
  insidePid = readInsidePid,
): ProcessEntry[] {
  const byPid = new Map(others.map((process) => [process.pid, process]))
  const isNew = (process: ProcessEntry): boolean => {
    if (process.startTime < ticks || (spared.size > 0 && spared.has(insidePid(process.pid)))) return false
    const parent = byPid.get(process.parent)
    return parent === undefined || isNew(parent)
  }
  return others.filter(isNew)
}

/** The number that a process has in the innermost namespace that it is in; 0 when it has ended. */
function readInsidePid(pid: number): number {
  try {
    return Number(/^NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
  } catch {
    return 0
  }
}

/** Now, as the start of a process is told. */
export function nowInTicks(): number {
  return Math.floor(Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * TICKS_PER_SECOND)
}

/** Stops all of a session but the process that keeps its namespaces, so that nothing in it changes. */
export function freezeSession(initPid: number): void {
  // What is started while we look is found at the next look.
  const stopped = new Set<number>()
  for (let before = -1; before < stopped.size; ) {
    before = stopped.size
    for (const { pid } of descendantsOf(initPid, readProcesses())) {
      if (!stopped.has(pid)) signalProcess(pid, 'SIGSTOP')
      stopped.add(pid)
    }
  }
}

export function resumeSession(initPid: number): void {
  for (const { pid } of descendantsOf(initPid, readProcesses())) signalProcess(pid, 'SIGCONT')
}

/** Sends a signal, by name or number, to a process that may have ended. */
export function signalProcess(pid: number, signal: NodeJS.Signals | number): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (systemCodeOf(error) !== 'ESRCH') throw error
  }
}

function descendantsOf(pid: number, processes: ProcessEntry[]): ProcessEntry[] {
  const byParent = Map.groupBy(processes, ({ parent }) => parent)
  const found: ProcessEntry[] = []
  for (let parents = [pid]; parents.length > 0; ) {
    const children = parents.flatMap((parent) => byParent.get(parent) ?? [])
    found.push(...children)
    parents = children.map((child) => child.pid)
  }
  return found
}

function firstChildOf(pid: number, processes: ProcessEntry[]): ProcessEntry | undefined {
  return processes
    .filter(({ parent }) => parent === pid)
    .toSorted((a, b) => a.startTime - b.startTime || a.pid - b.pid)[0]
}

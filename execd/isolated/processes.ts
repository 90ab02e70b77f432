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

/** Those of `others` that have begun since `ticks`, and not below one that is older. */
export function startedSince(ticks: number, others: ProcessEntry[]): ProcessEntry[] {
  const byPid = new Map(others.map((process) => [process.pid, process]))
  const isNew = (process: ProcessEntry): boolean => {
    if (process.startTime < ticks) return false
    const parent = byPid.get(process.parent)
    return parent === undefined || isNew(parent)
  }
  return others.filter(isNew)
}

/** Now, as the start of a process is told. */
export function nowInTicks(): number {
  return Math.floor(Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * TICKS_PER_SECOND)
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

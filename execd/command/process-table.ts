// What the kernel says about processes, from /proc: who started whom, and when. A number is given to another process one day;
// number and start time together are one process for ever.

import { readdirSync, readFileSync } from 'node:fs'

export type ProcessEntry = {
  pid: number
  /** 1 or a reaper once the real parent has ended. */
  parent: number
  group: number
  session: number
  /** In ticks since the machine was started. */
  startTime: number
  /** One letter, as in `ps`: Z has ended and was not waited for yet. */
  state: string
}

/** All processes of this namespace. */
export function readProcesses(): ProcessEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProcess(Number(name)))
    .filter((entry) => entry !== undefined)
}

/** One process, or undefined when there is none of that number. */
export function readProcess(pid: number): ProcessEntry | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    // Ended meanwhile, or never there.
    return undefined
  }
  return parseStat(text)
}

/** Whether this very process still runs. */
export function isRunning({ pid, startTime }: { pid: number; startTime: number }): boolean {
  const entry = readProcess(pid)
  return entry?.startTime === startTime && !isDead(entry)
}

export function isDead({ state }: Pick<ProcessEntry, 'state'>): boolean {
  return state === 'Z' || state === 'X'
}

/** Reads a line of /proc/PID/stat. A program chooses its name, which may hold spaces and parentheses. */
export function parseStat(text: string): ProcessEntry | undefined {
  const nameEnd = text.lastIndexOf(')')
  const fields = text.slice(nameEnd + 2).split(' ')
  const [pid, parent, group, session, startTime] = [
    text.slice(0, text.indexOf(' ')),
    fields[1],
    fields[2],
    fields[3],
    fields[19],
  ].map(Number)
  if (nameEnd < 0 || !pid || startTime === undefined || !Number.isSafeInteger(startTime)) return undefined
  return {
    pid,
    parent: parent ?? 0,
    group: group ?? 0,
    session: session ?? 0,
    startTime,
    state: fields[0] ?? '',
  }
}

// What a process costs, from /proc.

import { readFileSync } from 'node:fs'

/** Of a kernel that counts the time of processes in hundredths of a second, as all of Linux does (`getconf CLK_TCK`). */
export const TICKS_PER_SECOND = 100

/** The fields of /proc/pid/stat from the state on: the name before them may hold anything. */
export function statFieldsOf(pid: number | string): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** Seconds of processor time that it has used so far. */
export function cpuSecondsOfProcess(pid: number | string): number {
  const fields = statFieldsOf(pid)
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Bytes that are its alone. */
export function privateBytesOfProcess(pid: number | string): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1')
  const kilobytes = [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB/gm)]
  return kilobytes.reduce((sum, [, each]) => sum + Number(each), 0) * 1024
}

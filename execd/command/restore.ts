// Commands that an earlier life of execd has started. They run on while execd is away, and are ours again afterwards: watched by
// number and start time, as only a parent is told of an end, and heard through their pipes, which kept what they wrote.

import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { type Command, type CommandEnd, failure } from './command.ts'
import { endGroup } from './end.ts'
import type { Journal } from './journal.ts'
import type { ProcessEnd, RunningProcess } from './process.ts'
import type { SeenProcess } from './process-scanner.ts'
import { isDead, isRunning, readProcess } from './process-table.ts'
import type { CommandEndRecord, CommandRecord } from './records.ts'

const WATCH_MS = 100
/** How long to wait for a process that has ended to be reaped: only then the kernel tells how it did. */
const REAP_MS = 2000

/**
 * Whether the process that a record names is still the one that it was made for. The record may be forged and its numbers may be
 * another process's by now: the start must be the same, it must lead its own session, and no other mark may be on it.
 */
export function isStillThere({ id, process }: CommandRecord, processes: SeenProcess[]): boolean {
  if (!process) return false
  const now = processes.find(({ pid }) => pid === process.pid)
  if (!now || isDead(now) || now.startTime !== process.startTime || now.session !== now.pid) return false
  return now.marks.family === undefined && (now.marks.command === undefined || now.marks.command === id)
}

/** What the next life needs to know of a command that was started. */
export function recordOf(command: Command): CommandRecord {
  const { id, content, background, startedAt, timeoutMs, process } = command
  return {
    id,
    content,
    background,
    startedAt,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(process ? { process: { pid: process.pid, startTime: process.startTime, pipes: process.pipes } } : {}),
  }
}

/** What the next life needs to know of a command that has ended. */
export function endRecordOf(command: Command): CommandEndRecord {
  const { end, journal, finishedAt = 0, timedOut, outputLost = false, isTold = false } = command
  const error = end?.error?.traceback[0]
  return {
    finishedAt,
    ...(end?.exitCode === undefined ? {} : { exitCode: end.exitCode }),
    ...(end?.signal === undefined ? {} : { signal: end.signal }),
    ...(error === undefined ? {} : { error }),
    timedOut,
    outputBytes: journal.end,
    outputLost: outputLost || journal.lostError !== undefined,
    isTold,
  }
}

/** A command as its record has it; one without an end has none here either. */
export function restoreCommand(record: CommandRecord, journal: Journal, ended: Promise<CommandEnd>): Command {
  const { id, content, background, startedAt, timeoutMs, end } = record
  // What a foreground command says in its first moments is in memory alone; then it has a file.
  const wasInMemory = end ? journal.end < end.outputBytes : !background && !journal.hasFile
  return {
    id,
    content,
    background,
    startedAt,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    journal,
    hasScript: true,
    timedOut: end?.timedOut ?? false,
    outputLost: wasInMemory || (end?.outputLost ?? false),
    isTold: end?.isTold ?? false,
    ended,
    ...(end ? { finishedAt: end.finishedAt, end: restoreEnd(end) } : {}),
  }
}

function restoreEnd({ exitCode, signal, error }: CommandEndRecord): CommandEnd {
  return {
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    ...(error === undefined ? {} : { error: failure(String(exitCode ?? -1), [error]) }),
  }
}

/** A process that is not our child: nobody will ever know how it ended, unless `readEnd` can tell once it has. */
export function adoptProcess(
  { pid, startTime, pipes }: NonNullable<CommandRecord['process']>,
  streams: Socket[],
  readEnd?: () => ProcessEnd | undefined,
): RunningProcess {
  const [stdout = Readable.from([]), stderr] = streams
  const leader = { pid, startTime }
  return {
    ...leader,
    pipes,
    stdout,
    ...(stderr ? { stderr } : {}),
    ended: untilGone(leader, readEnd),
    // The number of an ended process may be another one's by now.
    end: async (options) => {
      if (isRunning(leader)) await endGroup(pid, options)
    },
  }
}

function untilGone(
  process: { pid: number; startTime: number },
  readEnd?: () => ProcessEnd | undefined,
): Promise<ProcessEnd> {
  return new Promise((resolve) => {
    let left = readEnd ? Math.ceil(REAP_MS / WATCH_MS) : 0
    const look = () => {
      if (isRunning(process)) return
      const isReaped = readProcess(process.pid)?.startTime !== process.startTime
      const end = readEnd?.()
      if (!end && !isReaped && left-- > 0) return
      clearInterval(timer)
      resolve(end ?? { exitCode: -1, isUnseen: true })
    }
    const timer = setInterval(look, WATCH_MS)
    look()
  })
}

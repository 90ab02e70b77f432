// A command as it is known to clients: what was asked for, how it stands, and how its end is told (contract: execd.md 3.3-3.5).

import type { CommandStatus, StreamError } from '../../lib/api/execd.ts'
import type { Journal } from './journal.ts'
import type { ProcessEnd, RunningProcess } from './process.ts'

const UNSEEN = 'its exit status is not known: execd was restarted while it ran'

const SIGNAL_WORDS: Record<string, string> = {
  SIGHUP: 'hangup',
  SIGINT: 'interrupt',
  SIGQUIT: 'quit',
  SIGILL: 'illegal instruction',
  SIGABRT: 'aborted',
  SIGBUS: 'bus error',
  SIGFPE: 'floating point exception',
  SIGKILL: 'killed',
  SIGSEGV: 'segmentation fault',
  SIGPIPE: 'broken pipe',
  SIGALRM: 'alarm clock',
  SIGTERM: 'terminated',
}

export type CommandEnd = {
  /** Absent when nobody saw the end. */
  exitCode?: number
  signal?: string
  /** What to tell of an end that was not a success. */
  error?: StreamError
}

export type Command = {
  readonly id: string
  /** What was asked for, perhaps shortened. */
  readonly content: string
  readonly background: boolean
  readonly startedAt: number
  readonly timeoutMs?: number
  readonly journal: Journal
  /** Its line may be in a file for the shell. */
  readonly hasScript: boolean
  finishedAt?: number
  end?: CommandEnd
  timedOut: boolean
  /** Output in memory was lost with an earlier execd. */
  outputLost?: boolean
  /** Its client has heard of its end. */
  isTold?: boolean
  process?: RunningProcess
  /** Someone asked it to end, perhaps before it had begun. */
  endGraceMs?: number
  /** Resolves when all that belonged to it has ended. */
  ending?: Promise<unknown>
  readonly ended: Promise<CommandEnd>
}

/** How a command stands, as clients are told. */
export function describeCommand(command: Command): CommandStatus {
  const { id, content, startedAt, finishedAt, end, timedOut, journal } = command
  const error = end?.error?.traceback[0] ?? end?.error?.evalue
  return {
    id,
    content,
    running: finishedAt === undefined,
    ...(end?.exitCode === undefined ? {} : { exit_code: end.exitCode }),
    ...(error === undefined ? {} : { error }),
    ...(end?.signal === undefined ? {} : { signal: end.signal }),
    ...(timedOut ? { timed_out: true } : {}),
    ...(command.outputLost || journal.lostError !== undefined ? { output_lost: true } : {}),
    started_at: new Date(startedAt).toISOString(),
    ...(finishedAt === undefined ? {} : { finished_at: new Date(finishedAt).toISOString() }),
  }
}

/** What the end of a process means for its command. */
export function describeEnd(
  { exitCode, signal, isUnseen }: ProcessEnd,
  { timedOut, timeoutMs }: Pick<Command, 'timedOut' | 'timeoutMs'>,
): CommandEnd {
  const words = isUnseen
    ? UNSEEN
    : signal
      ? `signal: ${SIGNAL_WORDS[signal] ?? signal}`
      : `exit status ${exitCode}`
  const seen = signal ? { signal } : {}
  // What a timeout ended has failed, even if it caught TERM and said 0.
  if (timedOut)
    return { exitCode: -1, ...seen, error: failure('-1', [words, `timed out after ${timeoutMs} ms`]) }
  if (isUnseen) return { error: failure('-1', [words]) }
  if (exitCode === 0) return { exitCode: 0 }
  return { exitCode, ...seen, error: failure(String(exitCode), [words]) }
}

/** The end of a command that could not even begin; 255 is what its status says. */
export function describeStartFailure(message: string): CommandEnd {
  return { exitCode: 255, error: failure(message, [message]) }
}

export function failure(evalue: string, traceback: string[]): StreamError {
  return { ename: 'CommandExecError', evalue, traceback }
}

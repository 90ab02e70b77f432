// How the end of a run is told (contract: execd.md 4): as that of a command, and with a word on what became of the shell.

import { constants } from 'node:os'
import type { StreamError } from '../../lib/api/execd.ts'
import { describeEnd, failure } from '../command/command.ts'
import type { ProcessEnd } from '../command/process.ts'
import type { Dialect } from './script.ts'

/** What a new shell has from the one before. */
export const KEPT: Record<Dialect, string> = {
  bash: 'the variables, functions, options and directory',
  sh: 'the variables, options and directory',
}

/** An end in words, such as `signal: killed`. */
export function wordsOf(end: ProcessEnd): string {
  return describeEnd(end, { timedOut: false }).error?.traceback[0] ?? 'exit status 0'
}

/** The error of a run that came to its end, or undefined when there is none. */
export function describeStatus(status: number): StreamError | undefined {
  return describeEnd({ exitCode: status }, { timedOut: false }).error
}

/** The error of a run that took the shell with it, or undefined when it did so with `exit 0`. */
export function describeShellEnd(end: ProcessEnd, dialect: Dialect): StreamError | undefined {
  const { error } = describeEnd(end, { timedOut: false })
  return error && { ...error, traceback: [...error.traceback, newShell(dialect)] }
}

/** The error of a run that was ended before its time; `end` is undefined when its shell does not end, not even killed. */
export function describeStop(words: string, end: ProcessEnd | undefined, dialect: Dialect): StreamError {
  return failure('-1', [end ? wordsOf(end) : 'killed, but not gone', words, newShell(dialect)])
}

/** What `$?` is after an end, as a shell has it. */
export function statusOf(end: ProcessEnd | undefined): number {
  if (!end) return 128 + constants.signals.SIGKILL
  return end.signal ? 128 + constants.signals[end.signal] : end.exitCode
}

function newShell(dialect: Dialect): string {
  return `the shell has ended: the next run is in a new one, with ${KEPT[dialect]} from before this run`
}

// How a cell of Go failed, as clients are told.

import type { ProcessEnd } from '../../command/process.ts'
import type { CellEvent } from '../engine.ts'
import { type BuildProblem, describeProblem } from './go-build.ts'

const MAX_TRACEBACK_LINES = 100

/** What the compiler says of the cell; of what is around it, when it says nothing of the cell. */
export function compileError(problems: BuildProblem[], code: string, cell: number): CellEvent {
  const own = problems.filter(({ where }) => where === `cell-${cell}`)
  const [first] = own
  if (first) {
    const lines = own.flatMap((problem) => describeProblem(problem, code))
    return errorEvent('CompileError', lines[0] ?? '', lines)
  }
  const messages = problems.map(({ message }) => message)
  return errorEvent('CompileError', messages[0] ?? '', messages)
}

/** How a program ended that did not end well; `words` is the end of what it wrote to stderr. */
export function failureOf({ exitCode, signal }: ProcessEnd, words: string): CellEvent {
  const at = words.search(/^(?:panic|fatal error): /m)
  if (at < 0) {
    const evalue = signal ? `The program was killed by ${signal}` : `exit status ${exitCode}`
    return errorEvent('ExitError', evalue)
  }
  const lines = words.slice(at).trimEnd().split('\n')
  const [, ename = 'panic', evalue = ''] = /^(panic|fatal error): (.*)$/.exec(lines[0] ?? '') ?? []
  return errorEvent(ename, evalue, lines.slice(0, MAX_TRACEBACK_LINES))
}

export function errorEvent(ename: string, evalue: string, traceback: string[] = []): CellEvent {
  return { type: 'error', error: { ename, evalue, traceback } }
}

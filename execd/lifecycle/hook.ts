// One run of a hook: a process of the sandbox's user with a time limit, whose output is kept in a bounded log, the end of it
// also for whoever is told of a failure.

import { endAllOf } from '../command/end.ts'
import type { Journal } from '../command/journal.ts'
import { COMMAND_VARIABLE } from '../command/marks.ts'
import { type OutputSink, relayOutput } from '../command/output.ts'
import { type ProcessEnd, type RunningProcess, StartError, startProcess } from '../command/process.ts'
import type { ProcessScanner } from '../command/process-scanner.ts'
import { findProgram } from '../command/program.ts'
import { createRandomId } from '../random-id.ts'
import type { Surroundings } from '../surroundings.ts'
import type { HookConfig } from './config.ts'

const TAIL_BYTES = 2000

export type HookContext = {
  surroundings: Surroundings
  scanner: ProcessScanner
  journal: Journal
  /** Variables beside those that every process gets. */
  env?: Record<string, string>
  /** Ends the run before its time. */
  signal: AbortSignal
  /** From TERM to KILL for a run that is over before its end. Asked when it is. */
  graceMs(): number
}

/** How a run ended. `problem` says in words what was wrong, with the end of the output. */
export type HookEnd = { ok: true } | { ok: false; problem: string }

/** Runs a hook to its end. */
export async function runHook(hook: HookConfig, context: HookContext): Promise<HookEnd> {
  const { surroundings, scanner, journal, signal } = context
  const { user, starter, workdir } = surroundings
  const id = createRandomId()
  const own = { ...context.env, [COMMAND_VARIABLE]: id }
  const env = surroundings.environment(user, own)
  const tail = new Tail()
  journal.append(Buffer.from(`# ${new Date().toISOString()} ${hook.name} begins\n`))
  const conclude = (problem?: string): HookEnd => {
    journal.append(Buffer.from(`# ${new Date().toISOString()} ${hook.name} ended: ${problem ?? 'well'}\n`))
    return problem === undefined ? { ok: true } : { ok: false, problem: problem + tail.describe() }
  }

  const program = findProgram(hook.command[0] ?? '', env.PATH, workdir)
  if (!program.ok) return conclude(program.message)
  let running: RunningProcess
  try {
    running = await startProcess(starter, {
      path: program.path,
      argv: hook.command,
      cwd: workdir,
      env,
      user,
      output: 'merged',
    })
  } catch (error) {
    if (error instanceof StartError) return conclude(error.message)
    throw error
  }
  const sink: OutputSink = {
    write: (_name, bytes) => {
      journal.append(bytes)
      tail.append(bytes)
      return true
    },
    drained: () => Promise.resolve(),
    lasting: true,
  }
  const ended = relayOutput(running, sink)
  const cut = await endInTime({ ended, timeoutMs: hook.timeoutMs, signal }, () =>
    endAllOf(
      { leader: running, isMarked: ({ marks }) => marks.command === id },
      { graceMs: context.graceMs() },
      scanner,
    ),
  )
  if (cut === 'timeout') return conclude(`it did not end within ${hook.timeoutMs / 1000} seconds`)
  if (cut === 'stopped') return conclude('it was stopped')
  return conclude(describeEnd(cut))
}

type Limits = { ended: Promise<ProcessEnd>; timeoutMs: number; signal: AbortSignal }

/** The end of a process, or why `end` was called before it. Does not wait for what even that does not end. */
async function endInTime(
  { ended, timeoutMs, signal }: Limits,
  end: () => Promise<boolean>,
): Promise<ProcessEnd | 'timeout' | 'stopped'> {
  const cut = Promise.withResolvers<'timeout' | 'stopped'>()
  const timer = setTimeout(() => cut.resolve('timeout'), timeoutMs)
  const stop = () => cut.resolve('stopped')
  signal.addEventListener('abort', stop)
  if (signal.aborted) stop()
  try {
    const first = await Promise.race([ended, cut.promise])
    if (typeof first === 'string' && (await end())) await ended
    return first
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

function describeEnd({ exitCode, signal }: ProcessEnd): string | undefined {
  if (signal) return `it was ended by ${signal}`
  return exitCode === 0 ? undefined : `it ended with code ${exitCode}`
}

/** The last of an output. */
class Tail {
  #bytes = Buffer.alloc(0)
  #isCut = false

  append(bytes: Buffer): void {
    const all = Buffer.concat([this.#bytes, bytes.subarray(-TAIL_BYTES)])
    this.#isCut ||= this.#bytes.length + bytes.length > TAIL_BYTES
    this.#bytes = all.subarray(-TAIL_BYTES)
  }

  describe(): string {
    const text = this.#bytes.toString('utf8').trimEnd()
    if (text === '') return '; it wrote nothing'
    return `; ${this.#isCut ? 'the end of its output' : 'its output'}:\n${text}`
  }
}

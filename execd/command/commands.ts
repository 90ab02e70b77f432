// All commands of a sandbox, running and finished. A command is registered before anyone hears its id, is one process group
// with one ending, and is remembered afterwards until it is old or there are too many.

import { chownSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CommandStatus, StreamError } from '../../lib/api/execd.ts'
import { execdError } from '../http/answer.ts'
import { createRandomId } from '../random-id.ts'
import type { Surroundings } from '../surroundings.ts'
import { Journal } from './journal.ts'
import { type OutputSink, relayOutput } from './output.ts'
import { type ProcessEnd, type RunningProcess, StartError, startProcess, type UserIds } from './process.ts'
import { findProgram, findShell } from './program.ts'
import type { CommandRequest } from './request.ts'

const INTERRUPT_GRACE_MS = 3000
const TIMEOUT_GRACE_MS = 500
/** How long an interrupt waits for what even KILL does not end, such as a process in a broken device. */
const INTERRUPT_DEADLINE_MS = 10_000
const JOURNAL_BYTES = 64 << 20
const MAX_FINISHED = 1000
const MAX_FINISHED_BYTES = 512 << 20
const MAX_AGE_MS = 24 * 3_600_000
const MAX_CONTENT = 64 << 10
/** A longer line does not fit into one argument (Linux: 128 KiB) and goes to the shell as a file. */
const MAX_LINE_BYTES = 120_000
/** Longer waits overflow a timer; nobody waits for them. */
const MAX_TIMER_MS = 2 ** 31 - 1

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
  exitCode: number
  /** What to tell of an end that was not a success. */
  error?: StreamError
  durationMs: number
}

/** What a command tells while it starts and runs; `output` is not asked of background commands. */
export type CommandObserver = { begin(id: string): void; output?: OutputSink }

type Command = {
  id: string
  content: string
  startedAt: number
  finishedAt?: number
  exitCode?: number
  error?: string
  timedOut: boolean
  /** Someone asked it to end, perhaps before it had begun. */
  endGraceMs?: number
  process?: RunningProcess
  journal?: Journal
  ended: Promise<CommandEnd>
}

/** What is ready to be executed: everything that could be refused has been. */
type Prepared = { cwd: string; env: Record<string, string>; user: UserIds }

export class Commands {
  readonly #surroundings: Surroundings
  /** A directory of ours for the output of background commands. */
  readonly #dir: string
  readonly #running = new Map<string, Command>()
  /** In the order of their ends. */
  readonly #finished = new Map<string, Command>()

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#dir = join(surroundings.dir, 'commands')
  }

  /**
   * Runs a command. Throws a refusal before `begin` when the request cannot be; afterwards every failure is an end.
   * Resolves at the end of a foreground command, and at the start of a background one.
   */
  async run(request: CommandRequest, observer: CommandObserver): Promise<CommandEnd> {
    const prepared = this.#prepare(request)
    const id = createRandomId()
    const startedAt = performance.now()
    const ended = Promise.withResolvers<CommandEnd>()
    const command: Command = {
      id,
      content: ('line' in request.run ? request.run.line : request.run.argv.join(' ')).slice(0, MAX_CONTENT),
      startedAt: Date.now(),
      timedOut: false,
      ended: ended.promise,
    }
    if (request.background) command.journal = this.#openJournal(id)
    this.#running.set(id, command)
    observer.begin(id)
    const finish = (end: CommandEnd) => {
      this.#finish(command, end)
      ended.resolve(end)
    }

    const durationMs = () => performance.now() - startedAt
    let process: RunningProcess
    try {
      process = await this.#start(request, prepared, id)
    } catch (error) {
      if (!(error instanceof StartError)) {
        finish({ exitCode: 255, durationMs: durationMs() })
        throw error
      }
      // 255 is what a background command that never began has; a foreground one is told by its event alone.
      const end = { exitCode: 255, error: failure(error.message, [error.message]), durationMs: durationMs() }
      finish(end)
      return end
    }
    command.process = process
    if (command.endGraceMs !== undefined) void this.#end(command, command.endGraceMs)
    const { journal } = command
    const sink = journal ? journal.sink() : observer.output
    const done = this.#follow(command, process, request.timeoutMs, sink).then((end) => {
      if ('line' in request.run && isLong(request.run.line)) rmSync(this.#scriptPath(id), { force: true })
      finish({ ...describeEnd(end, command, request.timeoutMs), durationMs: durationMs() })
    })
    if (!request.background) await done
    return request.background ? { exitCode: 0, durationMs: durationMs() } : ended.promise
  }

  /** The state of a command, or undefined when there is none of that id. */
  status(id: string): CommandStatus | undefined {
    const command = this.#find(id)
    if (!command) return undefined
    return {
      id: command.id,
      content: command.content,
      running: command.finishedAt === undefined,
      ...(command.exitCode === undefined ? {} : { exit_code: command.exitCode }),
      ...(command.error === undefined ? {} : { error: command.error }),
      ...(command.timedOut ? { timed_out: true } : {}),
      started_at: new Date(command.startedAt).toISOString(),
      ...(command.finishedAt === undefined
        ? {}
        : { finished_at: new Date(command.finishedAt).toISOString() }),
    }
  }

  /** The output of a background command, or undefined when the id is of none. */
  journal(id: string): Journal | undefined {
    return this.#find(id)?.journal
  }

  /** Ends a running command and resolves when it has ended. Throws a refusal when there is nothing to end. */
  async interrupt(id: string): Promise<void> {
    const command = this.#running.get(id)
    if (!command)
      throw execdError(
        'RUNTIME_ERROR',
        this.#finished.has(id) ? `Command "${id}" is not running` : `no such session: "${id}"`,
      )
    void this.#end(command, INTERRUPT_GRACE_MS)
    const timer = deadline(INTERRUPT_DEADLINE_MS)
    const hasEnded = await Promise.race([command.ended.then(() => true), timer.passed])
    timer.cancel()
    if (!hasEnded) throw execdError('RUNTIME_ERROR', `Command "${id}" does not end, not even when killed`)
  }

  /** Ends all that runs. */
  async endAll(graceMs: number): Promise<void> {
    await Promise.all([...this.#running.values()].map((command) => this.#end(command, graceMs)))
  }

  async #end(command: Command, graceMs: number): Promise<void> {
    command.endGraceMs = graceMs
    await command.process?.end({ graceMs })
  }

  #find(id: string): Command | undefined {
    return this.#running.get(id) ?? this.#finished.get(id)
  }

  #prepare(request: CommandRequest): Prepared {
    const { identity, environment, resolveCwd } = this.#surroundings
    const user = identity(request.uid, request.gid)
    const env = environment(user, request.envs)
    return { env, user, cwd: resolveCwd(request.cwd, env) }
  }

  async #start(request: CommandRequest, { cwd, env, user }: Prepared, id: string): Promise<RunningProcess> {
    const program =
      'argv' in request.run ? findProgram(request.run.argv[0] ?? '', env.PATH, cwd) : findShell(env.PATH, cwd)
    if (!program.ok) throw new StartError(program.message, program.exitCode)
    const argv =
      'argv' in request.run ? request.run.argv : this.#shellArgv(program.path, request.run.line, id, user)
    return startProcess(this.#surroundings.starter, {
      path: program.path,
      argv,
      cwd,
      env,
      user,
      output: request.background ? 'merged' : 'separate',
    })
  }

  #shellArgv(shell: string, line: string, id: string, user: UserIds): string[] {
    if (!isLong(line)) return [shell, '-c', line]
    const path = this.#scriptPath(id)
    mkdirSync(this.#dir, { recursive: true, mode: 0o711 })
    writeFileSync(path, line, { mode: 0o600, flag: 'wx' })
    chownSync(path, user.uid, user.gid)
    return [shell, path]
  }

  #scriptPath(id: string): string {
    return join(this.#dir, `${id}.sh`)
  }

  #openJournal(id: string): Journal {
    // Made again each time: the directory is inside the sandbox, where anyone who is root may have removed it.
    mkdirSync(this.#dir, { recursive: true, mode: 0o711 })
    return new Journal({ path: join(this.#dir, `${id}.output`), maxBytes: JOURNAL_BYTES })
  }

  async #follow(
    command: Command,
    process: RunningProcess,
    timeoutMs: number | undefined,
    sink: OutputSink = discard,
  ): Promise<ProcessEnd> {
    const timer =
      timeoutMs !== undefined && timeoutMs <= MAX_TIMER_MS
        ? setTimeout(() => {
            command.timedOut = true
            void process.end({ graceMs: TIMEOUT_GRACE_MS })
          }, timeoutMs)
        : undefined
    void process.ended.then(() => clearTimeout(timer))
    return relayOutput(process, sink)
  }

  #finish(command: Command, end: CommandEnd): void {
    command.finishedAt = Date.now()
    command.exitCode = end.exitCode
    if (end.error) command.error = end.error.traceback[0] ?? end.error.evalue
    this.#running.delete(command.id)
    this.#finished.set(command.id, command)
    this.#forgetOld()
  }

  #forgetOld(): void {
    let bytes = 0
    for (const { journal } of this.#finished.values()) bytes += journal ? journal.end - journal.start : 0
    for (const [id, { finishedAt = 0, journal }] of this.#finished) {
      const isOld = Date.now() - finishedAt > MAX_AGE_MS
      if (!isOld && this.#finished.size <= MAX_FINISHED && bytes <= MAX_FINISHED_BYTES) return
      bytes -= journal ? journal.end - journal.start : 0
      journal?.remove()
      this.#finished.delete(id)
    }
  }
}

const discard: OutputSink = { write: () => true, drained: () => Promise.resolve(), lasting: false }

function describeEnd(
  end: ProcessEnd,
  { timedOut }: Command,
  timeoutMs: number | undefined,
): { exitCode: number; error?: StreamError } {
  const words = end.signal
    ? `signal: ${SIGNAL_WORDS[end.signal] ?? end.signal}`
    : `exit status ${end.exitCode}`
  // What a timeout ended has failed, even if it caught TERM and said 0.
  if (timedOut) return { exitCode: -1, error: failure('-1', [words, `timed out after ${timeoutMs} ms`]) }
  if (end.exitCode === 0) return { exitCode: 0 }
  return { exitCode: end.exitCode, error: failure(String(end.exitCode), [words]) }
}

function failure(evalue: string, traceback: string[]): StreamError {
  return { ename: 'CommandExecError', evalue, traceback }
}

function isLong(line: string): boolean {
  return line.length > MAX_LINE_BYTES / 4 && Buffer.byteLength(line) > MAX_LINE_BYTES
}

function deadline(ms: number): { passed: Promise<false>; cancel: () => void } {
  const { promise, resolve } = Promise.withResolvers<false>()
  const timer = setTimeout(() => resolve(false), ms)
  return { passed: promise, cancel: () => clearTimeout(timer) }
}

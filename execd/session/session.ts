// One session: runs that take turns in a shell, and the end of each, whichever comes first: that of its code, its timeout, its client's
// leaving, an interrupt, or the session's own.

import type { StreamError } from '../../lib/api/execd.ts'
import type { SessionStatus } from '../../lib/api/execd-session.ts'
import { COMMAND_VARIABLE } from '../command/marks.ts'
import type { ProcessEnd } from '../command/process.ts'
import type { ProcessScanner } from '../command/process-scanner.ts'
import { execdError } from '../http/answer.ts'
import { createRandomId } from '../random-id.ts'
import { MAX_TIMER_MS } from '../timer.ts'
import type { RunReport } from './due-reports.ts'
import { describeShellEnd, describeStatus, describeStop, statusOf } from './end.ts'
import { LastingShell, type LastingShellOptions } from './lasting-shell.ts'
import { RunOutput, type RunSink } from './output.ts'
import { childrenOf, endRun, type RunOrigin } from './processes.ts'
import type { SessionRunRequest } from './request.ts'
import type { Shell, ShellRun } from './shell.ts'
import { Turns } from './turns.ts'

const MAX_WAITING = 64
const MAX_RUN_MS = 24 * 3_600_000
const TIMEOUT_GRACE_MS = 500
const LEFT_GRACE_MS = 500
const INTERRUPT_GRACE_MS = 3000
/** How long the end of a shell that was killed is waited for: one in a broken device never comes. */
const GONE_MS = 500
const SETTLE_MS = 500

export type SessionOptions = LastingShellOptions & { id: string; scanner: ProcessScanner }

/** Who asked for a run. */
export type RunClient = RunSink & {
  /** The run is accepted: from now on what fails is its end. */
  begin(): void
  /** Aborted when nobody hears any more. */
  left: AbortSignal
}

export type RunEnd = { error?: StreamError; durationMs: number }

/** Why a run ends before its time; the words are for its client. */
type Stop = { words: string; graceMs: number }

/** How a run in a shell came to its end: by itself, or with the shell, or by a stop. */
type Outcome = { report?: RunReport; end?: ProcessEnd; stop?: Stop }

const DELETED: Stop = { words: 'the session was deleted', graceMs: 1000 }

type RunningNow = { stop(stop: Stop): void; over: Promise<unknown> }

export class Session {
  readonly id: string
  readonly #options: SessionOptions
  readonly #shell: LastingShell
  readonly #createdAt = Date.now()
  #lastRunAt: number | undefined
  readonly #turns = new Turns(MAX_WAITING)
  #running: RunningNow | undefined
  #isDeleted = false

  constructor(options: SessionOptions) {
    this.#options = options
    this.#shell = new LastingShell(options)
    this.id = options.id
  }

  describe(): SessionStatus {
    return {
      session_id: this.id,
      created_at: new Date(this.#createdAt).toISOString(),
      ...(this.#lastRunAt === undefined ? {} : { last_run_at: new Date(this.#lastRunAt).toISOString() }),
      running: this.#turns.isTaken,
      waiting: this.#turns.waiting,
      cwd: this.#shell.last.cwd,
      shell: this.#shell.dialect,
      restarts: this.#shell.restarts,
    }
  }

  /** Starts the shell. Throws a refusal when it cannot be executed. */
  async start(): Promise<void> {
    await this.#shell.start(this.#environment())
  }

  /**
   * Runs code when it is its turn. Throws a refusal when it cannot be run; resolves with undefined when its client has left before its
   * turn.
   */
  async run(request: SessionRunRequest, client: RunClient): Promise<RunEnd | undefined> {
    this.#refuseIfDeleted()
    if (this.#turns.isFull)
      throw execdError('TOO_MANY', `Session "${this.id}" has ${MAX_WAITING} runs that wait already`)
    // Who has to wait hears meanwhile that we are there.
    if (this.#turns.isTaken) client.begin()
    if (!(await this.#turns.take(client.left))) return undefined
    try {
      return await this.#runNow(request, client)
    } finally {
      this.#turns.give()
    }
  }

  /** Ends the run that is running, and not the session. Throws a refusal when there is none. */
  async interrupt(): Promise<void> {
    if (!this.#running)
      throw execdError('RUNTIME_ERROR', `Session "${this.id}" is not running: there is nothing to interrupt`)
    this.#running.stop({ words: 'interrupted', graceMs: INTERRUPT_GRACE_MS })
    await this.#running.over
  }

  /** Ends the running run and the shell. What earlier runs left in the background lives on. */
  async delete(graceMs = DELETED.graceMs): Promise<void> {
    this.#isDeleted = true
    this.#running?.stop({ ...DELETED, graceMs })
    // What waits is refused at its turn, and then it is ours.
    await this.#turns.take(new AbortController().signal)
    try {
      await this.#shell.close()
    } finally {
      this.#turns.give()
    }
  }

  #refuseIfDeleted(): void {
    if (this.#isDeleted) throw execdError('CONTEXT_NOT_FOUND', `Session "${this.id}" was deleted`)
  }

  async #runNow(request: SessionRunRequest, client: RunClient): Promise<RunEnd> {
    this.#refuseIfDeleted()
    const startedAt = performance.now()
    this.#lastRunAt = Date.now()
    const { surroundings, pipes } = this.#options
    const user = surroundings.identity()
    const env = this.#environment()
    const cwd = request.cwd === undefined ? undefined : surroundings.resolveCwd(request.cwd, env)
    const { shell, notices, exports } = await this.#shell.use(env)
    const [stdout, stderr] = pipes.takeTwo(user)
    client.begin()
    for (const notice of notices) client.write('stderr', Buffer.from(`session: ${notice}\n`))

    const output = new RunOutput({ stdout, stderr }, client)
    const { status, traced } = this.#shell.last
    const run = {
      code: request.code,
      ...(cwd === undefined ? {} : { cwd }),
      stdout: stdout.path,
      stderr: stderr.path,
      exports,
      status,
      traced,
    }
    const outcome = await this.#follow(shell, run, request.timeoutMs, client.left)
    if (outcome.report && !outcome.stop) this.#shell.record(outcome.report, env)
    else this.#shell.release(shell, statusOf(outcome.end))
    await output.finish()
    const error = this.#describe(outcome)
    return { ...(error ? { error } : {}), durationMs: performance.now() - startedAt }
  }

  /** Runs code in a shell and sees to its end. */
  async #follow(
    shell: Shell,
    run: ShellRun,
    timeoutMs: number | undefined,
    left: AbortSignal,
  ): Promise<Outcome> {
    const mark = createRandomId()
    const origin: RunOrigin = { shell, earlier: childrenOf(shell.pid), mark }
    const over = Promise.withResolvers<void>()
    const isHopeless = Promise.withResolvers<undefined>()
    let stopped: Stop | undefined
    const stop = (asked: Stop) => {
      if (stopped) return
      stopped = asked
      void this.#end(shell, origin, asked)
        .then(() => after(GONE_MS))
        .then(() => isHopeless.resolve(undefined))
    }
    this.#running = { stop, over: over.promise }
    const maxMs = Math.min(timeoutMs ?? MAX_RUN_MS, MAX_TIMER_MS)
    const timer = setTimeout(
      () => stop({ words: `timed out after ${maxMs} ms`, graceMs: TIMEOUT_GRACE_MS }),
      maxMs,
    )
    const leave = () => stop({ words: 'its client has left', graceMs: LEFT_GRACE_MS })
    left.addEventListener('abort', leave)
    if (left.aborted) leave()
    if (this.#isDeleted) stop(DELETED)
    try {
      const exports = { ...run.exports, [COMMAND_VARIABLE]: mark }
      const report = await Promise.race([shell.execute({ ...run, exports }), isHopeless.promise])
      // What was told to end does end, even if its code was faster.
      if (stopped) await Promise.race([shell.ended, isHopeless.promise])
      return {
        ...(report ? { report } : {}),
        ...(shell.end ? { end: shell.end } : {}),
        ...(stopped ? { stop: stopped } : {}),
      }
    } finally {
      clearTimeout(timer)
      left.removeEventListener('abort', leave)
      this.#running = undefined
      over.resolve()
    }
  }

  async #end(shell: Shell, origin: RunOrigin, { graceMs }: Stop): Promise<void> {
    // It may still be writing down what the run before has left.
    await Promise.race([shell.settled(), after(SETTLE_MS)])
    await endRun(origin, { graceMs }, this.#options.scanner)
    // Where the kernel does not tell of processes, this is what can be done.
    shell.kill()
  }

  #describe({ report, end, stop }: Outcome): StreamError | undefined {
    const { dialect } = this.#shell
    if (stop) return describeStop(stop.words, end, dialect)
    if (report) return describeStatus(report.status)
    return end && describeShellEnd(end, dialect)
  }

  #environment(): Record<string, string> {
    const { surroundings } = this.#options
    return surroundings.environment(surroundings.identity())
  }
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}

// A code context: one kernel and the runs that wait for it, first come, first served. A run whose client has left goes on to its
// end; one whose client left before it began is dropped. A kernel that died is replaced by the next run, which is told so.

import type { StreamError } from '../../lib/api/execd.ts'
import { ApiError, messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { execdError } from '../http/answer.ts'
import { createRandomId } from '../random-id.ts'
import { MAX_TIMER_MS } from '../timer.ts'
import { type CellEvent, type CellSink, type Kernel, KernelDied, type Language } from './engine.ts'

const MAX_WAITING = 32
/** An interrupt is given this often, each with this long to have its effect; then the kernel is ended. */
const INTERRUPT_STEPS_MS = [2000, 3000, 5000]
const CLOSE_GRACE_MS = 500

export type RunObserver = {
  /** The run has been taken: its id. Nothing else is told before. */
  begin(id: string): void
  sink: CellSink
  /** Aborted when nobody listens any more. */
  left: AbortSignal
  /** Absent: no limit. */
  timeoutMs?: number
}

export type RunEnd = { durationMs: number }

type Run = RunObserver & {
  id: string
  code: string
  over: PromiseWithResolvers<RunEnd>
  /** Nobody holds it back any more: it is to end, whether its client reads or not. */
  released: PromiseWithResolvers<void>
  isReleased: boolean
  /** How many events its client has not taken. */
  untaken: number
  hasFailed: boolean
  timedOut: boolean
  /** Why its kernel was ended under it. */
  cause?: StreamError
  interrupting?: Promise<void>
}

export type CodeContextOptions = {
  id: string
  language: Language
  cwd?: string
  start: (signal: AbortSignal) => Promise<Kernel>
  log: Logger
}

export class CodeContext {
  readonly id: string
  readonly language: Language
  readonly cwd: string | undefined
  readonly #options: CodeContextOptions
  readonly #closing = new AbortController()
  readonly #waiting: Run[] = []
  #running: Run | undefined
  #kernel: Kernel | undefined
  /** Why there is no kernel any more. */
  #lost: string | undefined

  constructor(options: CodeContextOptions) {
    this.#options = options
    this.id = options.id
    this.language = options.language
    this.cwd = options.cwd
  }

  /** Starts the kernel, so that what hinders it is told to whoever makes the context. */
  async open(signal: AbortSignal): Promise<void> {
    await this.#startKernel(signal)
  }

  /** Runs code when its turn has come; resolves at its end, also when it failed, which is an event. */
  run(code: string, observer: RunObserver): Promise<RunEnd> {
    if (this.#closing.signal.aborted) throw execdError('CONTEXT_NOT_FOUND', `context ${this.id} not found`)
    if (this.#running && this.#waiting.length >= MAX_WAITING) throw new ContextBusy(this.#waiting.length)
    const run: Run = {
      ...observer,
      id: createRandomId(),
      code,
      over: Promise.withResolvers(),
      released: Promise.withResolvers(),
      isReleased: false,
      untaken: 0,
      hasFailed: false,
      timedOut: false,
    }
    this.#waiting.push(run)
    run.begin(run.id)
    const leave = () => this.#drop(run)
    run.left.addEventListener('abort', leave, { once: true })
    if (run.left.aborted) leave()
    this.#next()
    return run.over.promise.finally(() => run.left.removeEventListener('abort', leave))
  }

  /** Whether the run of that id is here, and still running or waiting. */
  has(runId: string): boolean {
    return this.#running?.id === runId || this.#waiting.some(({ id }) => id === runId)
  }

  /** Interrupts the run of that id, or else the one that runs. Resolves when it has ended. */
  async interrupt(runId?: string): Promise<void> {
    const waiting = this.#waiting.find(({ id }) => id === runId)
    if (waiting) {
      this.#drop(waiting, { ename: 'Interrupted', evalue: 'interrupted before it began', traceback: [] })
      return
    }
    const run = this.#running
    if (!run || (runId !== undefined && run.id !== runId)) return
    run.interrupting ??= this.#interrupt(run)
    await run.interrupting
  }

  /** Ends the kernel and all runs. */
  async close(graceMs: number): Promise<void> {
    const cause = { ename: 'ContextClosed', evalue: `context ${this.id} was deleted`, traceback: [] }
    this.#closing.abort()
    for (const run of [...this.#waiting]) this.#drop(run, cause)
    const run = this.#running
    if (run) {
      run.cause = cause
      release(run)
    }
    await this.#kernel?.close(graceMs)
    await run?.over.promise
  }

  #next(): void {
    if (this.#running) return
    this.#running = this.#waiting.shift()
    if (this.#running) void this.#execute(this.#running)
  }

  async #execute(run: Run): Promise<void> {
    const startedAt = performance.now()
    const sink: CellSink = (event) => put(run, event)
    const timer =
      run.timeoutMs !== undefined && run.timeoutMs <= MAX_TIMER_MS
        ? setTimeout(() => {
            run.timedOut = true
            void this.interrupt(run.id)
          }, run.timeoutMs)
        : undefined
    try {
      await this.#executeOnce(run, sink).catch((error: unknown) => {
        // It had died between two runs, and nobody had heard of it yet.
        if (error instanceof KernelDied && !error.hasBegun && !run.cause) return this.#executeOnce(run, sink)
        throw error
      })
    } catch (error) {
      await put(run, { type: 'error', error: run.cause ?? this.#describe(error) })
    }
    clearTimeout(timer)
    if (run.timedOut && !run.hasFailed)
      await put(run, { type: 'error', error: { ename: '', evalue: '', traceback: [] } })
    this.#running = undefined
    run.over.resolve({ durationMs: performance.now() - startedAt })
    this.#next()
  }

  async #executeOnce(run: Run, sink: CellSink): Promise<void> {
    const kernel = await this.#kernelFor(sink)
    try {
      await kernel.execute(run.code, sink)
    } catch (error) {
      if (error instanceof KernelDied) this.#forget(kernel, error.message)
      throw error
    }
  }

  async #kernelFor(sink: CellSink): Promise<Kernel> {
    if (this.#kernel) return this.#kernel
    const lost = this.#lost
    const kernel = await this.#startKernel(this.#closing.signal)
    if (lost !== undefined) {
      const text = `[This is a new ${this.language} kernel, without what was defined before. The one before is no more: ${lost}.]\n`
      await sink({ type: 'stderr', text })
    }
    return kernel
  }

  async #startKernel(signal: AbortSignal): Promise<Kernel> {
    const kernel = await this.#options.start(signal)
    if (this.#closing.signal.aborted) {
      await kernel.close(0)
      throw new KernelDied('its context was deleted')
    }
    this.#kernel = kernel
    void kernel.ended.then((reason) => this.#forget(kernel, reason))
    return kernel
  }

  #forget(kernel: Kernel, reason: string): void {
    if (this.#kernel !== kernel) return
    this.#kernel = undefined
    this.#lost = reason
  }

  async #interrupt(run: Run): Promise<void> {
    release(run)
    for (const waitMs of INTERRUPT_STEPS_MS) {
      const kernel = this.#kernel
      try {
        await kernel?.interrupt()
      } catch (error) {
        this.#options.log.warn('cannot interrupt a kernel', { error: messageOf(error) })
      }
      if (await endsWithin(run, waitMs)) return
    }
    run.cause = {
      ename: 'KernelDied',
      evalue: `The code did not end when it was interrupted, so its ${this.language} kernel was ended, with all that was defined`,
      traceback: [],
    }
    await this.#kernel?.close(CLOSE_GRACE_MS)
    await run.over.promise
  }

  /** Takes a run out that has not begun. */
  #drop(run: Run, error?: StreamError): void {
    const at = this.#waiting.indexOf(run)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    if (error) void put(run, { type: 'error', error })
    run.over.resolve({ durationMs: 0 })
  }

  #describe(error: unknown): StreamError {
    if (error instanceof KernelDied) {
      const evalue = `The ${this.language} kernel is no more: ${error.message}. The next run gets a new one, without what was defined`
      return { ename: 'KernelDied', evalue, traceback: [evalue] }
    }
    if (error instanceof ApiError)
      return { ename: error.code, evalue: error.message, traceback: [error.message] }
    this.#options.log.error('a run failed', {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
    return {
      ename: 'RUNTIME_ERROR',
      evalue: 'Internal error: the log of the sandbox has more',
      traceback: [],
    }
  }
}

/** More runs wait than may; clients look for these words. */
export class ContextBusy extends Error {
  constructor(waiting: number) {
    super(`error running codes session is busy: ${waiting} runs wait for it already`)
    this.name = 'ContextBusy'
  }
}

function release(run: Run): void {
  run.isReleased = true
  run.released.resolve()
}

/** Tells an event, and resolves when the next may come. */
async function put(run: Run, event: CellEvent): Promise<void> {
  // Who does not read gets no more than the end of a run that was ended.
  if (run.isReleased && run.untaken > 0 && event.type !== 'error') return
  if (event.type === 'error') run.hasFailed = true
  const taken = run.sink(event.type === 'error' ? { ...event, error: tellError(run, event.error) } : event)
  if (!taken) return
  run.untaken++
  void taken.finally(() => run.untaken--)
  if (!run.isReleased) await Promise.race([taken, run.released.promise])
}

function tellError({ timedOut, timeoutMs, cause, isReleased }: Run, error: StreamError): StreamError {
  if (timedOut) {
    const evalue = `timed out after ${timeoutMs} ms`
    // That the kernel had to be ended as well is worth more than a second word for the timeout.
    return { ...error, ename: 'ExecutionTimeout', evalue: cause ? `${evalue}. ${cause.evalue}` : evalue }
  }
  // Python has no words for it.
  return isReleased && error.evalue === '' ? { ...error, evalue: 'interrupted' } : error
}

async function endsWithin(run: Run, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  const ended = await Promise.race([run.over.promise.then(() => true), late])
  clearTimeout(timer)
  return ended
}

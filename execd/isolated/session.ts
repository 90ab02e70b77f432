// One isolated session: a shell in namespaces of its own, the turns in which it runs code, and how it ends. All of it ends with
// the first process inside, which the kernel sees to.

import { mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { IsolatedSessionState, IsolatedSessionStatus } from '../../lib/api/execd-isolated.ts'
import type { OutputSink } from '../command/output.ts'
import { execdError } from '../http/answer.ts'
import { launchSession, type RunningSession, type SessionSpec } from './launch.ts'
import { makeLayers } from './layers.ts'
import { type Namespace, NamespaceError } from './namespace.ts'
import { nowInTicks } from './processes.ts'
import { formatParameters } from './request.ts'
import { type BackgroundRun, type RunEnd, type SessionShell, ShellGone } from './shell.ts'
import { stopRun } from './stop.ts'

/** How many runs may wait for their turn. */
const MAX_WAITING = 64

export type SessionOptions = Omit<SessionSpec, 'layersDir' | 'dir' | 'pipes'> & { id: string }

export type ForegroundRun = {
  code: string
  sink: OutputSink
  /** Called when it is its turn. */
  begin: () => void
  timeoutMs?: number
  /** Ends it when aborted. */
  signal: AbortSignal
}

export type ForegroundEnd = RunEnd & {
  /** Why it was ended from outside. */
  stopped?: 'timeout' | 'cancelled'
}

/** What someone who has the session for itself can do with it. */
export type SessionHands = {
  /** Ends all that runs. */
  end(): Promise<void>
  /** Starts a new shell on what the layers have. */
  startAgain(): Promise<void>
}

export class IsolatedSession {
  readonly id: string
  readonly spec: SessionSpec
  readonly #createdAt = Date.now()
  #running: RunningSession | undefined
  #status: IsolatedSessionStatus = 'active'
  #message: string | undefined
  #diedAt = 0
  #lastRunAt = this.#createdAt
  #lastUsedAt = performance.now()
  #uses = 0
  #waiting = 0
  #turn: Promise<unknown> = Promise.resolve()

  constructor({ id, ...options }: SessionOptions) {
    const { isolator, surroundings } = options
    this.id = id
    const dir = join(surroundings.dir, 'isolated', id)
    this.spec = {
      ...options,
      layersDir: join(isolator.config.upperRoot, id),
      dir,
      pipes: surroundings.starter.pipes.sibling(join(dir, 'pipes')),
    }
  }

  get status(): IsolatedSessionStatus {
    return this.#status
  }

  /** Its namespaces while it is active. */
  get namespace(): Namespace | undefined {
    return this.#status === 'active' ? this.#running?.namespace : undefined
  }

  /** Throws ShellGone when it has none. */
  requireNamespace(): Namespace {
    const { namespace } = this
    if (!namespace) throw new ShellGone()
    return namespace
  }

  /** Milliseconds that it has been dead. */
  get deadMs(): number {
    return this.#status === 'dead' ? performance.now() - this.#diedAt : 0
  }

  /** Milliseconds until it ends for want of use; undefined when it never does. */
  get idleRemainingMs(): number | undefined {
    const timeoutMs = this.spec.request.idleTimeoutSeconds * 1000
    if (timeoutMs === 0 || this.#status !== 'active') return undefined
    return this.#uses > 0 ? timeoutMs : Math.max(0, timeoutMs - (performance.now() - this.#lastUsedAt))
  }

  /** Makes its directories and starts its shell. Throws a refusal that says why it does not start. */
  async open(): Promise<void> {
    const { layersDir, dir, plan, pipes } = this.spec
    try {
      makeLayers(layersDir, plan.mounts)
      mkdirSync(dir, { recursive: true, mode: 0o711 })
      pipes.prepare()
      await this.#start()
    } catch (error) {
      await this.close()
      if (error instanceof NamespaceError)
        throw execdError('RUNTIME_ERROR', `Cannot start the session: ${error.message}`, error)
      throw error
    }
  }

  /** Counts as use until the work settles. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    this.#uses++
    try {
      return await work()
    } finally {
      this.#uses--
      this.#lastUsedAt = performance.now()
    }
  }

  /** Runs code once it is its turn; resolves at its end. */
  run({ code, sink, begin, timeoutMs, signal }: ForegroundRun): Promise<ForegroundEnd> {
    return this.#inTurn(async (shell) => {
      // Who has left while waiting gets nothing run.
      if (signal.aborted) return { exitCode: -1, isNewShell: false, stopped: 'cancelled' }
      begin()
      this.#lastRunAt = Date.now()
      const startedAt = nowInTicks()
      const over = new AbortController()
      let stopped: ForegroundEnd['stopped']
      let ending: Promise<void> | undefined
      const stop = (why: 'timeout' | 'cancelled') => {
        const initPid = this.namespace?.initPid
        if (stopped || initPid === undefined) return
        stopped = why
        ending = stopRun(initPid, {
          ticks: startedAt,
          spared: shell.backgroundPids,
          over: over.signal,
        }).then((isOver) => (isOver ? undefined : this.#startAgain()))
      }
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => stop('timeout'), timeoutMs)
      const cancel = () => stop('cancelled')
      signal.addEventListener('abort', cancel, { once: true })
      try {
        const end = await shell.run(code, sink)
        return stopped ? { ...end, stopped } : end
      } catch (error) {
        if (!(error instanceof ShellGone) || !stopped) throw error
        return { exitCode: -1, isNewShell: true, stopped }
      } finally {
        clearTimeout(timer)
        signal.removeEventListener('abort', cancel)
        over.abort()
        // All that it has started is gone, and if need be a new shell there, before anyone else has a turn.
        await ending
      }
    })
  }

  /** Starts code in the background once it is its turn. The session counts as used until that ends. */
  start(code: string, sink: OutputSink): Promise<BackgroundRun> {
    return this.#inTurn(async (shell) => {
      this.#lastRunAt = Date.now()
      const run = await shell.start(code, sink)
      // How it ended is told to whoever asks for it.
      void this.use(() => run.ended).catch(() => {})
      return run
    })
  }

  /** Does something while no code is run, which may end all of the session and start it anew. */
  exclusively<T>(work: (hands: SessionHands) => Promise<T>): Promise<T> {
    return this.#inTurn(() => work({ end: () => this.#end(), startAgain: () => this.#startAgain() }))
  }

  /** Ends what runs in it, because of something that went wrong. */
  kill(message: string): void {
    this.#die(message)
    this.#running?.namespace.kill()
  }

  /** Ends everything and removes what it has kept. */
  async close(): Promise<void> {
    this.#status = 'destroyed'
    await this.#end()
    const { layersDir, dir } = this.spec
    for (const path of [layersDir, dir]) await rm(path, { recursive: true, force: true })
  }

  /** As clients see it (contract: execd.md 8.2). */
  describe(): IsolatedSessionState {
    const remainingMs = this.idleRemainingMs
    return {
      session_id: this.id,
      status: this.#status,
      created_at: new Date(this.#createdAt).toISOString(),
      last_run_at: new Date(this.#lastRunAt).toISOString(),
      ...(remainingMs === undefined ? {} : { idle_remaining_seconds: Math.ceil(remainingMs / 1000) }),
      ...(this.#message === undefined ? {} : { message: this.#message }),
      ...formatParameters(this.spec.request),
    }
  }

  async #start(): Promise<void> {
    const running = await launchSession(this.spec)
    if (this.#status === 'destroyed') {
      running.namespace.kill()
      throw new NamespaceError('it was deleted')
    }
    this.#running = running
    void running.namespace.ended.then(() => {
      // An end that was wanted is followed by another start, or by nothing.
      if (this.#running === running) this.#die('its first process was ended')
    })
  }

  async #startAgain(): Promise<void> {
    await this.#end()
    try {
      await this.#start()
    } catch (error) {
      this.#die('its shell could not be started again')
      if (!(error instanceof NamespaceError)) throw error
    }
  }

  #die(message: string): void {
    if (this.#status !== 'active') return
    this.#status = 'dead'
    this.#diedAt = performance.now()
    this.#message ??= message
  }

  async #end(): Promise<void> {
    const namespace = this.#running?.namespace
    this.#running = undefined
    namespace?.kill()
    await namespace?.ended
  }

  /** Throws a refusal at once when too much waits already. */
  #inTurn<T>(work: (shell: SessionShell) => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING)
      throw execdError('TOO_MANY', `${MAX_WAITING} runs wait for their turn in this session already`)
    this.#waiting++
    const turn = this.#turn.then(() => {
      this.#waiting--
      const shell = this.#running?.shell
      if (this.#status !== 'active' || !shell) throw new ShellGone()
      return this.use(() => work(shell))
    })
    this.#turn = turn.catch(() => {})
    return turn
  }
}

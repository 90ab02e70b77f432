// A kernel of a Jupyter server. No cell waits for ever: a kernel that dies says so itself, or through its server, or is found
// dead by a look at it every few seconds; and a cell whose end was lost with a broken connection ends with an error.

import { messageOf } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import { untilAborted } from '../../../lib/stop.ts'
import { pause } from '../../timer.ts'
import { type CellEvent, type CellSink, type Kernel, KernelDied, type Language } from '../engine.ts'
import { Cell } from './cell.ts'
import { type Closed, MAX_MESSAGE_BYTES } from './connection.ts'
import { KernelLink } from './link.ts'
import type { JupyterServer, Session } from './server.ts'

const READY_MS = 60_000
const ASK_MS = 500
/** A kernel that answers but announces nothing is taken as it is. */
const ANNOUNCE_MS = 2000
const MAX_ATTEMPTS = 20
const ATTEMPT_STEP_MS = 50

export type KernelTimes = {
  /** Between two looks at the kernel of a running cell. */
  lookMs: number
  /** How long the second of a cell's two ends may take after the first. */
  endingMs: number
  /** How long a broken connection is tried to be made again. */
  reconnectMs: number
}
export const KERNEL_TIMES: KernelTimes = { lookMs: 2000, endingMs: 5000, reconnectMs: 5000 }

export type JupyterKernelOptions = {
  server: JupyterServer
  session: Session
  language: Language
  times: KernelTimes
  log: Logger
}

/** A cell that is being run. */
type Run = {
  cell: Cell
  sink: CellSink
  /** Settles with its end. */
  over: PromiseWithResolvers<void>
  /** Whether the connection broke since it began, so that messages may be lost. */
  isBroken: boolean
}

export class JupyterKernel implements Kernel {
  readonly language: Language
  readonly ended: Promise<string>
  readonly #options: JupyterKernelOptions
  readonly #link: KernelLink
  #isReady = false
  #run: Run | undefined
  #death: string | undefined
  #tellDeath: (reason: string) => void = () => {}

  constructor(options: JupyterKernelOptions) {
    const { server, session, times, log } = options
    this.#options = options
    this.language = options.language
    this.ended = new Promise((resolve) => {
      this.#tellDeath = resolve
    })
    this.#link = new KernelLink({
      server,
      kernelId: session.kernelId,
      reconnectMs: times.reconnectMs,
      log,
      isWorthwhile: async () => (await this.#look()) !== 'unknown',
      onState: (state) => this.#hear(state),
      onBreak: (closed) => this.#tellBreak(closed),
      onLost: (reason) => this.#die(`The connection to the kernel broke: ${reason}`),
    })
  }

  /** Connects and waits until the kernel answers and its output arrives. */
  async open(signal: AbortSignal): Promise<void> {
    const all = AbortSignal.any([signal, AbortSignal.timeout(READY_MS)])
    const died = this.ended.then((reason) => {
      throw new KernelDied(reason)
    })
    await Promise.race([this.#link.connect(all), died])
    await Promise.race([this.#becomeReady(all), died])
    this.#isReady = true
  }

  async execute(code: string, sink: CellSink): Promise<void> {
    // Some kernels refuse everything for a moment after a failure.
    for (let attempt = 1; await this.#runCell(code, sink, false); attempt++) {
      if (attempt === MAX_ATTEMPTS) {
        const evalue = 'The kernel refused to run the cell'
        return sink({ type: 'error', error: { ename: 'Aborted', evalue, traceback: [] } })
      }
      await pause(ATTEMPT_STEP_MS)
    }
  }

  /** Runs code of our own: not counted, not remembered. Resolves with what went wrong, if anything did. */
  async prepare(code: string, signal: AbortSignal): Promise<string | undefined> {
    let failure: string | undefined
    const sink = (event: CellEvent) => {
      if (event.type === 'error') failure = `${event.error.ename}: ${event.error.evalue}`
    }
    const aborted = untilAborted(signal).then(() => signal.throwIfAborted())
    await Promise.race([this.#runCell(code, sink, true), aborted])
    return failure
  }

  async interrupt(): Promise<void> {
    if (this.#run) await this.#options.server.interrupt(this.#options.session.kernelId)
  }

  async close(graceMs: number): Promise<void> {
    this.#die('The context was closed')
    const deleted = this.#options.server.deleteSession(this.#options.session.id).catch((error: unknown) => {
      // Its server may be gone, and the kernel with it.
      this.#options.log.warn('cannot delete a Jupyter session', { error: messageOf(error) })
    })
    // The server takes its time, some seconds for some kernels, and nobody needs to wait for all of it.
    let timer: NodeJS.Timeout | undefined
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, graceMs)
    })
    await Promise.race([deleted, late])
    clearTimeout(timer)
  }

  /** Resolves with whether the kernel refused to run it. */
  async #runCell(code: string, sink: CellSink, silent: boolean): Promise<boolean> {
    await this.#link.settled()
    if (this.#death !== undefined) throw new KernelDied(this.#death)
    const cell = new Cell()
    const over = Promise.withResolvers<void>()
    over.promise.catch(() => {})
    const run: Run = { cell, sink, over, isBroken: false }
    this.#run = run
    const watch = this.#watch(run)
    const content = {
      code,
      silent,
      store_history: !silent,
      user_expressions: {},
      allow_stdin: false,
      // Cells wait with us and not in the kernel.
      stop_on_error: false,
    }
    let forget: (() => void) | undefined
    try {
      forget = this.#link.send('execute_request', content, async (message) => {
        try {
          for (const event of cell.take(message)) await sink(event)
          if (message.type === 'input_request') await this.#refuseInput(sink)
          if (cell.isOver) over.resolve()
        } catch (error) {
          over.reject(error)
        }
      })
      await over.promise
      for (const event of cell.rest()) await sink(event)
      return cell.isAborted
    } finally {
      watch.stop()
      forget?.()
      this.#run = undefined
    }
  }

  /** We said that nobody can be asked; a kernel that asks all the same would wait for ever. */
  async #refuseInput(sink: CellSink): Promise<void> {
    const evalue = 'The cell asks for input, and there is nobody to ask'
    await sink({ type: 'error', error: { ename: 'InputNotSupported', evalue, traceback: [] } })
    await this.interrupt()
  }

  /** Looks at the kernel every so often while a cell runs, and ends the cell when its end will not come. */
  #watch(run: Run): { stop(): void } {
    const { cell, sink, over } = run
    const { lookMs, endingMs } = this.#options.times
    let isStopped = false
    let idleSince: number | undefined
    let timer: NodeJS.Timeout | undefined
    const look = async () => {
      const state = await this.#look()
      if (isStopped) return
      // Only what has broken loses anything. Without that, an end that does not come is the kernel's way of working.
      const mayBeOver = cell.isEnding || (run.isBroken && state === 'idle')
      idleSince = mayBeOver && this.#link.quietMs > lookMs ? (idleSince ?? performance.now()) : undefined
      if (idleSince === undefined || performance.now() - idleSince < endingMs) return again()
      const evalue = 'The connection to the kernel broke, and the end of the cell was lost'
      if (!cell.isEnding) await sink({ type: 'error', error: { ename: 'EndLost', evalue, traceback: [] } })
      over.resolve()
    }
    const again = () => {
      timer = setTimeout(() => void look().catch(over.reject), lookMs)
    }
    again()
    return {
      stop: () => {
        isStopped = true
        clearTimeout(timer)
      },
    }
  }

  /** The kernel's state as its server sees it; a kernel that is no more ends here. */
  async #look(): Promise<string | undefined> {
    try {
      const state = await this.#options.server.kernelState(this.#options.session.kernelId)
      if (state === undefined) this.#die('The kernel is gone: its Jupyter server does not know it any more')
      if (state === 'dead') this.#die('The kernel died')
      return state
    } catch (error) {
      // Not being able to look says nothing yet; the connection says the rest.
      this.#options.log.debug('cannot look at a kernel', { error: messageOf(error) })
      return 'unknown'
    }
  }

  /** A server starts a dead kernel anew by itself; all that was defined is gone, so it is another kernel. */
  #hear(state: unknown): void {
    if (state === 'dead' || (state === 'restarting' && this.#isReady))
      this.#die(this.#isReady ? 'The kernel died' : 'The kernel died while it was started')
  }

  #tellBreak({ tooLarge }: Closed): void {
    const run = this.#run
    if (!run) return
    run.isBroken = true
    if (!tooLarge) return
    const text = `[one output of more than ${MAX_MESSAGE_BYTES >> 20} MiB was left out]\n`
    void (async () => run.sink({ type: 'stderr', text }))().catch(run.over.reject)
  }

  async #becomeReady(signal: AbortSignal): Promise<void> {
    let isAnswered = false
    let isAnnounced = false
    let grace: NodeJS.Timeout | undefined
    const ready = Promise.withResolvers<void>()
    const asked: (() => void)[] = []
    const ask = () => {
      if (!this.#link.isConnected) return
      const forget = this.#link.send('kernel_info_request', {}, ({ type, channel }) => {
        if (type === 'kernel_info_reply') {
          isAnswered = true
          grace ??= setTimeout(ready.resolve, ANNOUNCE_MS)
        } else if (channel === 'iopub') isAnnounced = true
        if (isAnswered && isAnnounced) ready.resolve()
      })
      asked.push(forget)
    }
    const onAbort = () => ready.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    // The first may go lost: output that is published before anyone listens reaches nobody.
    const asking = setInterval(ask, ASK_MS)
    try {
      ask()
      await ready.promise
    } finally {
      clearInterval(asking)
      clearTimeout(grace)
      signal.removeEventListener('abort', onAbort)
      for (const forget of asked) forget()
    }
  }

  #die(reason: string): void {
    if (this.#death !== undefined) return
    this.#death = reason
    this.#tellDeath(reason)
    this.#run?.over.reject(new KernelDied(reason))
    this.#link.close()
  }
}

// A kernel that is a process of ours. What its cells print goes to standard output and error, as any program's; what it has to
// tell us goes over its channel, descriptor 3, one JSON object a line:
//
//   to the kernel    {"op":"execute","cell":1,"code":"…"}, {"op":"synced","id":1}, {"op":"interrupt"} (only if it asked for it)
//   from the kernel  {"op":"ready","tellInterrupts"?:true} once; then for the cell that runs
//                    {"op":"count","cell":1,"count":1}       the number of the cell as users see it
//                    {"op":"result","cell":1,"data":{…}}     texts by MIME type
//                    {"op":"error","cell":1,"ename":"…","evalue":"…","traceback":["…"]}
//                    {"op":"done","cell":1}                  its end, once
//                    {"op":"sync","id":1}                    asks for `synced` once all that it printed was handed on
//
// Code of users may do anything to a channel. What is not a message ends the kernel, and never us.

import type { Duplex } from 'node:stream'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import { endAllOf, signalGroup } from '../../command/end.ts'
import { FAMILY_VARIABLE, ownedEnvironment } from '../../command/marks.ts'
import { type ProcessEnd, type RunningProcess, StartError, startProcess } from '../../command/process.ts'
import { ProcessScanner, type SeenProcess } from '../../command/process-scanner.ts'
import { execdError } from '../../http/answer.ts'
import { createReadings } from '../../metrics/read.ts'
import { createRandomId } from '../../random-id.ts'
import type { Surroundings } from '../../surroundings.ts'
import { type CellEvent, type CellSink, type Kernel, KernelDied, type Language } from '../engine.ts'
import { type KernelMessage, MessageReader, parseMessage } from './kernel-message.ts'
import { KernelOutput } from './kernel-output.ts'

const READY_MS = 30_000
/** After the channel has closed, the process has this long to end by itself and so say why. */
const LAST_WORDS_MS = 500
const DEAD_GRACE_MS = 500
const MAX_START_OUTPUT = 2000

export type KernelLaunch = {
  language: Language
  /** The program as an absolute path. */
  path: string
  /** All its arguments; the first is the name that it sees itself by. */
  argv: string[]
  cwd: string
  env: Record<string, string>
}

/** Starts a kernel and waits until it is ready. Rejects with a refusal that has its last words when it is never. */
export async function startKernelProcess(
  surroundings: Surroundings,
  launch: KernelLaunch,
  signal: AbortSignal,
): Promise<Kernel> {
  const marks = ownedEnvironment(surroundings, 'code', createRandomId())
  let process: RunningProcess
  try {
    process = await startProcess(surroundings.starter, {
      path: launch.path,
      argv: launch.argv,
      cwd: launch.cwd,
      env: { ...launch.env, ...marks },
      user: surroundings.identity(),
      output: 'separate',
      channel: true,
    })
  } catch (error) {
    if (error instanceof StartError) throw execdError('RUNTIME_ERROR', error.message, error)
    throw error
  }
  const kernel = new KernelProcess({
    language: launch.language,
    process,
    family: marks[FAMILY_VARIABLE],
    log: surroundings.log,
  })
  await kernel.becomeReady(AbortSignal.any([signal, AbortSignal.timeout(READY_MS)]))
  return kernel
}

type KernelProcessOptions = {
  language: Language
  process: RunningProcess
  /** Marks all that the kernel starts, wherever it goes to. */
  family: string
  log: Logger
}

type Run = {
  cell: number
  over: PromiseWithResolvers<void>
  hasBegun: boolean
  /** It is to be interrupted as soon as it has begun: before, a signal would be for nothing. */
  isInterrupted: boolean
}

class KernelProcess implements Kernel {
  readonly language: Language
  readonly ended: Promise<string>
  readonly #options: KernelProcessOptions
  readonly #process: RunningProcess
  readonly #channel: Duplex
  readonly #output: KernelOutput
  readonly #ready = Promise.withResolvers<void>()
  readonly #readings = createReadings()
  readonly #oomKills = this.#readings.oomKills() ?? 0
  #tellsInterrupts = false
  #cells = 0
  #run: Run | undefined
  #death: string | undefined
  #ending: Promise<void> | undefined
  #tellDeath: (reason: string) => void = () => {}

  constructor(options: KernelProcessOptions) {
    const { language, process } = options
    if (!process.channel) throw new Error('A kernel needs a channel')
    this.language = language
    this.#options = options
    this.#process = process
    this.#channel = process.channel
    this.#output = new KernelOutput(process)
    this.ended = new Promise((resolve) => {
      this.#tellDeath = resolve
    })
    this.#ready.promise.catch(() => {})
    // Told by its end.
    this.#channel.on('error', () => {})
    void this.#follow()
  }

  async becomeReady(signal: AbortSignal): Promise<void> {
    let said = ''
    this.#output.begin((event) => {
      if ('text' in event) said = (said + event.text).slice(-MAX_START_OUTPUT)
    })
    const abort = () => this.#ready.reject(new Error('it was not ready in time'))
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
    try {
      await this.#ready.promise
    } catch (error) {
      await this.#output.settle()
      await this.close(0)
      const words = said.trim() === '' ? '' : `: ${said.trim()}`
      throw execdError(
        'RUNTIME_ERROR',
        `Cannot start the ${this.language} kernel, as ${messageOf(error)}${words}`,
      )
    } finally {
      signal.removeEventListener('abort', abort)
      this.#output.end()
    }
  }

  async execute(code: string, sink: CellSink): Promise<void> {
    if (this.#death !== undefined) throw new KernelDied(this.#death, { hasBegun: false })
    if (this.#run) throw new Error('A cell runs already')
    const run: Run = {
      cell: ++this.#cells,
      over: Promise.withResolvers(),
      hasBegun: false,
      isInterrupted: false,
    }
    this.#run = run
    this.#output.begin(sink)
    this.#send({ op: 'execute', cell: run.cell, code })
    try {
      await run.over.promise
    } finally {
      this.#output.end()
      this.#run = undefined
    }
  }

  async interrupt(): Promise<void> {
    if (!this.#run) return
    // Over the channel it comes after the cell, and to a signal the kernel may be deaf before.
    if (this.#run.hasBegun || this.#tellsInterrupts) this.#signalInterrupt()
    else this.#run.isInterrupted = true
  }

  #signalInterrupt(): void {
    if (this.#tellsInterrupts) this.#send({ op: 'interrupt' })
    signalGroup(this.#process.pid, 'SIGINT')
  }

  async close(graceMs: number): Promise<void> {
    this.#die('it was ended', graceMs)
    await this.#ending
  }

  /** Until the process has ended or its channel has; each may still have to say what the other does not. */
  async #follow(): Promise<void> {
    let reason = 'it closed its channel'
    const exited = this.#process.ended.then((end) => {
      reason = this.#describe(end)
    })
    const served = this.#serve()
    await Promise.race([exited, served])
    let timer: NodeJS.Timeout | undefined
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, LAST_WORDS_MS)
    })
    await Promise.race([Promise.all([exited, served]), late])
    clearTimeout(timer)
    this.#die(reason)
  }

  async #serve(): Promise<void> {
    const reader = new MessageReader()
    try {
      for await (const chunk of this.#channel) {
        for (const line of reader.push(chunk as Buffer)) await this.#take(parseMessage(line))
      }
    } catch (error) {
      // A broken connection is an end like any other; what is no message is not.
      if (systemCodeOf(error) === undefined) this.#die(`its channel broke, as ${messageOf(error)}`)
    }
  }

  async #take(message: KernelMessage): Promise<void> {
    if (message.op === 'ready') {
      this.#tellsInterrupts = message.tellInterrupts === true
      this.#ready.resolve()
      return
    }
    if (message.op === 'sync') {
      await this.#output.settle()
      this.#send({ op: 'synced', id: message.id })
      return
    }
    // What a cell that is over still has to say is not said to the next.
    const run = this.#run
    if (message.cell !== run?.cell) return
    if (message.op === 'count') this.#begin(run)
    // What was printed before stands before it.
    else await this.#output.settle()
    if (message.op === 'done') run.over.resolve()
    else if (run === this.#run) await this.#output.put(toEvent(message))
  }

  #begin(run: Run): void {
    run.hasBegun = true
    if (run.isInterrupted) this.#signalInterrupt()
  }

  #send(message: object): void {
    if (!this.#channel.destroyed) this.#channel.write(`${JSON.stringify(message)}\n`)
  }

  /** Once: the kernel is no more, or shall be no more. */
  #die(reason: string, graceMs = DEAD_GRACE_MS): void {
    if (this.#death !== undefined) return
    this.#death = reason
    this.#ready.reject(new Error(reason))
    this.#ending = this.#endAll(graceMs)
    this.#ending.catch((error: unknown) =>
      this.#options.log.error('cannot end what a kernel has left', { error: messageOf(error) }),
    )
    void this.#bury(reason)
  }

  async #bury(reason: string): Promise<void> {
    await this.#output.settle()
    this.#channel.destroy()
    this.#run?.over.reject(new KernelDied(reason, this.#run))
    this.#tellDeath(reason)
  }

  /** Ends the process and all that it has started. */
  async #endAll(graceMs: number): Promise<void> {
    const { process, family, log } = this.#options
    const leader = { pid: process.pid, startTime: process.startTime }
    const isMarked = ({ marks }: SeenProcess) => marks.family === family
    const isOver = await endAllOf({ leader, isMarked }, { graceMs }, new ProcessScanner(log))
    if (!isOver) log.warn('a kernel has left something that does not end', { pid: process.pid })
  }

  #describe({ exitCode, signal }: ProcessEnd): string {
    if (!signal) return `it exited with status ${exitCode}`
    const isOom = signal === 'SIGKILL' && (this.#readings.oomKills() ?? 0) > this.#oomKills
    return `it was killed by ${signal}${isOom ? ', as the sandbox ran out of memory' : ''}`
  }
}

function toEvent(message: Extract<KernelMessage, { op: 'count' | 'result' | 'error' }>): CellEvent {
  switch (message.op) {
    case 'count':
      return { type: 'execution_count', count: message.count }
    case 'result':
      return { type: 'result', results: message.data }
    case 'error': {
      const { ename, evalue, traceback } = message
      return { type: 'error', error: { ename, evalue, traceback } }
    }
  }
}

// Keeps one program running: starts it, waits until it says that it is ready, starts it again with growing pauses when it
// dies, and stops it. A program that dies before it was ready for the first time is not tried again: that is a machine or a
// configuration that cannot work, and the program has said why.

import { type ChildProcess, fork } from 'node:child_process'
import type { Logger } from '../lib/log.ts'

export type ProgramOptions = {
  name: string
  /** Absolute path of its main.ts. */
  file: string
  args: string[]
  env: Record<string, string | undefined>
  log: Logger
  readyTimeoutMs?: number
  /** How long it has between TERM and KILL when it is stopped. */
  stopTimeoutMs?: number
}

const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 3000
/** Who could serve is missed by everybody until it is back, and its start has proved to work. */
const LONGEST_PAUSE_ONCE_READY_MS = 500
/** After this long without dying, a program's next death is its first again. */
const STEADY_MS = 60_000

export class Program {
  readonly name: string
  readonly #options: ProgramOptions
  #child: ChildProcess | undefined
  #ended: Promise<void> = Promise.resolve()
  #stopping = false
  #isReady = false
  #deaths = 0
  #retry: NodeJS.Timeout | undefined

  constructor(options: ProgramOptions) {
    this.name = options.name
    this.#options = options
  }

  /** Starts it and resolves once it is ready; rejects when it ends before, or is not ready in time. */
  async start(signal: AbortSignal): Promise<void> {
    await this.#launch(signal)
  }

  /** Sends TERM, after `stopTimeoutMs` KILL, and resolves once it is gone. */
  async stop(): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#retry)
    const child = this.#child
    if (!child) return
    const { log, stopTimeoutMs = 15_000 } = this.#options
    // Not by child.kill(): Deno's says that the child has ended as soon as the signal is sent.
    if (child.pid !== undefined) process.kill(child.pid, 'SIGTERM')
    const kill = setTimeout(() => {
      log.warn('program did not stop in time and is killed', { program: this.name, afterMs: stopTimeoutMs })
      child.kill('SIGKILL')
    }, stopTimeoutMs)
    await this.#ended
    clearTimeout(kill)
  }

  /** Sends it a signal once it is ready: before, it has no handler yet, and has just read what there is to be read. */
  passOn(name: NodeJS.Signals): void {
    if (this.#isReady && this.#child?.pid !== undefined) process.kill(this.#child.pid, name)
  }

  #launch(signal: AbortSignal): Promise<void> {
    const { name, file, args, env, log, readyTimeoutMs = 120_000 } = this.#options
    const child = fork(file, args, { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child = child
    const startedAt = Date.now()
    let ready = false
    let finish = () => {}
    this.#ended = new Promise((resolve) => {
      finish = resolve
    })
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`${name} was not ready within ${readyTimeoutMs / 1000} seconds`))
        child.kill('SIGKILL')
      }, readyTimeoutMs)
      const abort = () => reject(signal.reason)
      signal.addEventListener('abort', abort, { once: true })
      const settle = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
      }
      child.on('message', () => {
        if (ready) return
        ready = true
        this.#isReady = true
        settle()
        resolve()
      })
      let gone = false
      const onGone = (how: string) => {
        if (gone) return
        gone = true
        settle()
        this.#child = undefined
        this.#isReady = false
        finish()
        if (!ready) reject(new Error(`${name} could not start (${how})`))
        if (this.#stopping || signal.aborted || (!ready && this.#deaths === 0)) return
        if (Date.now() - startedAt > STEADY_MS) this.#deaths = 0
        const longestMs = ready ? LONGEST_PAUSE_ONCE_READY_MS : LONGEST_PAUSE_MS
        const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** this.#deaths, longestMs)
        this.#deaths += 1
        log.error('program died and is started again', { program: name, how, pauseMs })
        this.#retry = setTimeout(() => {
          this.#launch(signal).then(
            () => log.info('program is back', { program: name }),
            // Its end has been seen and the next start is planned; this says only why.
            (error) => log.error('program did not come back', { program: name, error }),
          )
        }, pauseMs)
      }
      child.on('error', (error) => onGone(error.message))
      child.on('exit', (code, killedBy) => onGone(killedBy ? `killed by ${killedBy}` : `exit code ${code}`))
    })
  }
}

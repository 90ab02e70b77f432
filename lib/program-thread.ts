// Runs programs of the system from a thread of its own. Starting one holds its thread up until the kernel has copied the tables of
// this process's memory and the new program runs: milliseconds on an idle machine, and many on a busy one, in which the
// thread that answers requests would answer nothing.

import { Worker } from 'node:worker_threads'
import { ProgramError, type RunOptions, type RunProgram, type RunResult } from './run-program.ts'

export type ProgramOrder =
  | {
      what: 'run'
      id: number
      program: string
      args: readonly string[]
      options: Omit<RunOptions, 'signal'>
    }
  | { what: 'stop'; id: number }

export type ProgramAnswer =
  | { id: number; result: RunResult }
  | { id: number; failed: { what: string; code: string | undefined; stderr: string } }

type Waiting = { program: string; resolve: (result: RunResult) => void; reject: (error: unknown) => void }

export class ProgramThread implements AsyncDisposable {
  #worker: Worker | undefined
  #lastId = 0
  readonly #waiting = new Map<number, Waiting>()

  /** As `runProgram`, but for the thread that waits. */
  readonly run: RunProgram = async (program, args, { signal, ...options } = {}) => {
    signal?.throwIfAborted()
    const worker = this.#start()
    const id = ++this.#lastId
    const stop = () => worker.postMessage({ what: 'stop', id } satisfies ProgramOrder)
    try {
      return await new Promise<RunResult>((resolve, reject) => {
        this.#waiting.set(id, { program, resolve, reject })
        worker.ref()
        worker.postMessage({ what: 'run', id, program, args, options } satisfies ProgramOrder)
        signal?.addEventListener('abort', stop, { once: true })
      })
    } catch (error) {
      // The program is gone, and why is known here alone.
      signal?.throwIfAborted()
      throw error
    } finally {
      signal?.removeEventListener('abort', stop)
      this.#waiting.delete(id)
      if (this.#waiting.size === 0) worker.unref()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate()
  }

  /** The thread, which is begun with the first program, and anew should it ever end. */
  #start(): Worker {
    if (this.#worker) return this.#worker
    const worker = new Worker(new URL('./program-thread-worker.ts', import.meta.url), { execArgv: [] })
    const end = (why: Error) => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      for (const { program, reject } of this.#waiting.values())
        reject(
          new ProgramError(program, 'cannot be waited for, as the thread that runs it has ended', {
            cause: why,
          }),
        )
    }
    worker
      .on('message', (answer: ProgramAnswer) => this.#settle(answer))
      .on('error', end)
      .on('exit', (code) => end(new Error(`It ended with ${code}`)))
    this.#worker = worker
    return worker
  }

  #settle(answer: ProgramAnswer): void {
    const waiting = this.#waiting.get(answer.id)
    if (!waiting) return
    if ('result' in answer) {
      waiting.resolve(answer.result)
      return
    }
    const { what, code, stderr } = answer.failed
    const cause = code === undefined ? undefined : Object.assign(new Error(what), { code })
    waiting.reject(new ProgramError(waiting.program, what, { cause, stderr }))
  }
}

// Runs programs of the system from a small process of its own. To start one, the kernel copies the tables of the memory of the
// process that asks, and both pay again for every page that is written to afterwards: 1 ms in a process that holds nothing, 7 in one
// that holds 100 MB, and no thread of that process runs as it should meanwhile (docs/decisions/threads-for-waiting.md).

import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
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
  | { id: number; failed: { what: string; code?: string; stderr: string } }

type Waiting = { program: string; resolve: (result: RunResult) => void; reject: (error: unknown) => void }

export class ProgramStarter implements AsyncDisposable {
  #child: ChildProcess | undefined
  #ended: Promise<void> = Promise.resolve()
  #lastId = 0
  readonly #waiting = new Map<number, Waiting>()

  /** As `runProgram`, but for the process that starts it. */
  readonly run: RunProgram = async (program, args, { signal, ...options } = {}) => {
    signal?.throwIfAborted()
    const child = this.start()
    const id = ++this.#lastId
    const stop = () => tell(child, { what: 'stop', id })
    try {
      return await new Promise<RunResult>((resolve, reject) => {
        this.#waiting.set(id, { program, resolve, reject })
        hold(child)
        tell(child, { what: 'run', id, program, args, options })
        signal?.addEventListener('abort', stop, { once: true })
      })
    } catch (error) {
      // The program is gone, and why is known here alone.
      signal?.throwIfAborted()
      throw error
    } finally {
      signal?.removeEventListener('abort', stop)
      this.#waiting.delete(id)
      if (this.#waiting.size === 0) release(child)
    }
  }

  /** What still runs goes on, as it does when this process is killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child
    if (!child) return
    hold(child)
    if (child.connected) child.disconnect()
    await this.#ended
  }

  /** The process, which is begun here unless it runs already, and anew should it ever have ended. */
  start(): ChildProcess {
    if (this.#child) return this.#child
    const child = fork(join(import.meta.dirname, 'program-starter-main.ts'), [String(process.pid)], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    let finish = () => {}
    this.#ended = new Promise((resolve) => {
      finish = resolve
    })
    const end = (cause: Error) => {
      finish()
      if (this.#child !== child) return
      this.#child = undefined
      for (const { program, reject } of this.#waiting.values())
        reject(
          new ProgramError(program, 'cannot be waited for, as the process that runs it has ended', { cause }),
        )
    }
    child
      .on('message', (answer: ProgramAnswer) => this.#settle(answer))
      .on('error', end)
      .on('exit', (code, killedBy) => end(new Error(`It ended with ${killedBy ?? code}`)))
    this.#child = child
    release(child)
    return child
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

/** An order that cannot be given is one to a process that has ended, which is told by its end. */
function tell(child: ChildProcess, order: ProgramOrder): void {
  child.send(order, () => {})
}

function hold(child: ChildProcess): void {
  child.ref()
  child.channel?.ref()
}

/** While nothing runs, this process may end. */
function release(child: ChildProcess): void {
  child.unref()
  child.channel?.unref()
}

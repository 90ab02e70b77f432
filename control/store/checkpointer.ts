// Takes what the write-ahead log holds into the database file. That ends in fsync of both, 15 ms and now and then 150, so it is
// done by a thread of its own, and the one that answers requests never waits for the disk.

import { Worker } from 'node:worker_threads'
import type { CheckpointAnswer } from './checkpoint-worker.ts'

export class Checkpointer {
  readonly #path: string
  /** Started at the first checkpoint: a database that is hardly written needs none. */
  #worker: Worker | undefined

  constructor(path: string) {
    this.#path = path
  }

  /** One checkpoint: how many pages of the log are in the file now, and how many were written too late for it. One at a time. */
  async checkpoint(): Promise<{ pages: number; left: number }> {
    const worker = this.#start()
    const answer = await new Promise<CheckpointAnswer>((resolve, reject) => {
      const onMessage = (message: CheckpointAnswer) => settle(() => resolve(message))
      const onError = (error: Error) => settle(() => reject(error))
      const onExit = () => settle(() => reject(new Error('The thread of checkpoints has ended')))
      const settle = (act: () => void) => {
        worker.off('message', onMessage).off('error', onError).off('exit', onExit)
        act()
      }
      worker.on('message', onMessage).on('error', onError).on('exit', onExit)
      worker.postMessage('checkpoint')
    })
    if ('error' in answer) throw new Error(answer.error)
    return answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate()
    this.#worker = undefined
  }

  #start(): Worker {
    if (this.#worker) return this.#worker
    const worker = new Worker(new URL('./checkpoint-worker.ts', import.meta.url), {
      workerData: this.#path,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 32 },
    })
    const forget = () => {
      if (this.#worker === worker) this.#worker = undefined
    }
    worker.on('error', forget).on('exit', forget)
    worker.unref()
    this.#worker = worker
    return worker
  }
}

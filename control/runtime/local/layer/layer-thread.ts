// Copies layers on a thread of its own: it is one call to the system after the other, thousands of them, and the thread that answers
// requests would answer nothing meanwhile.

import { Worker } from 'node:worker_threads'
import type { LayerAnswer, LayerOrder, LayerWork } from './layer-worker.ts'

/** What a thread could not do; `code` is that of the system. `isRefused`: for a reason that whoever asked is to hear. */
export class LayerFailure extends Error {
  readonly code: string | undefined
  readonly isRefused: boolean
  constructor({ message, code, isRefused }: Extract<LayerAnswer, { what: 'failed' }>) {
    super(message)
    this.name = 'LayerFailure'
    this.code = code
    this.isRefused = isRefused
  }
}

export type Pass = Extract<LayerAnswer, { what: 'passed' }>

export class LayerThread implements AsyncDisposable {
  readonly #worker: Worker
  readonly #stop = new Int32Array(new SharedArrayBuffer(4))
  readonly #gone: Promise<void>
  #settle: { resolve: (answer: LayerAnswer) => void; reject: (error: unknown) => void } | undefined
  #answer: LayerAnswer | undefined
  #ended: unknown

  private constructor(work: LayerWork, signal: AbortSignal) {
    this.#worker = new Worker(new URL('./layer-worker.ts', import.meta.url), {
      workerData: { work, stop: this.#stop },
      execArgv: [],
    })
    const end = (error: unknown) => {
      this.#ended ??= error
      this.#settle?.reject(this.#ended)
    }
    const onAbort = () => {
      end(signal.reason)
      this.#end()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#gone = new Promise((resolve) => this.#worker.once('exit', () => resolve()))
    this.#worker
      .on('message', (answer: LayerAnswer) => {
        if (this.#settle) this.#settle.resolve(answer)
        else this.#answer = answer
      })
      .on('error', end)
      .on('exit', () => {
        signal.removeEventListener('abort', onAbort)
        end(new Error('The thread that copies has ended'))
      })
    if (signal.aborted) onAbort()
  }

  /** Begins a copy; what is there is copied by `pass`. */
  static async openCopy(
    options: { from: string; to: string; leaveOut: string[] },
    signal: AbortSignal,
  ): Promise<LayerThread> {
    const thread = new LayerThread({ what: 'copy', ...options }, signal)
    try {
      await thread.#next()
      return thread
    } catch (error) {
      await thread[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Reads the digest of a layer, once it is safe on the disk. */
  static async digestOf(layer: string, firstId: number, signal: AbortSignal): Promise<string> {
    await using thread = new LayerThread({ what: 'digest', layer, firstId }, signal)
    const answer = await thread.#next()
    return answer.what === 'digest' ? answer.digest : ''
  }

  async pass(order: { isLive: boolean; forced: string[] }): Promise<Pass> {
    return await this.#order({ what: 'pass', ...order })
  }

  /** Takes into the copy what is seen of a layer below it; of several, the topmost comes first. */
  async addBelow(layer: string): Promise<Pass> {
    return await this.#order({ what: 'below', layer })
  }

  async #order(order: LayerOrder): Promise<Pass> {
    this.#worker.postMessage(order)
    const answer = await this.#next()
    if (answer.what !== 'passed') throw new Error(`The thread that copies answered "${answer.what}"`)
    return answer
  }

  /** Resolves once it does nothing any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end()
    await this.#gone
  }

  /** Has it close what it has open, and end. */
  #end(): void {
    Atomics.store(this.#stop, 0, 1)
    this.#worker.postMessage({ what: 'end' } satisfies LayerOrder)
  }

  async #next(): Promise<LayerAnswer> {
    const answer = this.#answer ?? (await this.#wait())
    this.#answer = undefined
    if (answer.what === 'failed') throw new LayerFailure(answer)
    return answer
  }

  async #wait(): Promise<LayerAnswer> {
    if (this.#ended !== undefined) throw this.#ended
    const waiting = Promise.withResolvers<LayerAnswer>()
    this.#settle = waiting
    try {
      return await waiting.promise
    } finally {
      this.#settle = undefined
    }
  }
}

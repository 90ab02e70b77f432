// What a cell prints, as events. Bytes become text here, at the boundaries of characters, and what comes in quick succession
// becomes one event.

import type { OutputName } from '../../command/output.ts'
import { unfinishedBytes } from '../../lines.ts'
import type { CellEvent, CellSink } from '../engine.ts'

/** Text that waits longer for more of its kind is an event. */
const GATHER_MS = 10
const GATHER_BYTES = 64 << 10

export class CellOutput {
  readonly #sink: CellSink
  /** What has not been handed on; all of one stream. */
  #gathered: Buffer[] = []
  #gatheredBytes = 0
  #gatheredName: OutputName = 'stdout'
  #timer: NodeJS.Timeout | undefined
  /** By stream: the beginning of a character whose end has not come. */
  readonly #torn = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) }
  #held: Promise<void> | undefined

  constructor(sink: CellSink) {
    this.#sink = sink
  }

  /** Takes bytes. False asks to hold the writer back until `drained` resolves. */
  write(name: OutputName, bytes: Buffer): boolean {
    if (name !== this.#gatheredName) this.flush()
    this.#gatheredName = name
    this.#gathered.push(bytes)
    this.#gatheredBytes += bytes.length
    if (this.#gatheredBytes >= GATHER_BYTES) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), GATHER_MS)
    return this.#held === undefined
  }

  /** Hands an event on, after all that was written before. */
  put(event: CellEvent): void {
    this.flush()
    this.#hold(this.#sink(event))
  }

  /** Hands on what has been gathered. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#gatheredBytes === 0) return
    const name = this.#gatheredName
    const bytes = Buffer.concat([this.#torn[name], ...this.#gathered])
    this.#gathered = []
    this.#gatheredBytes = 0
    const end = bytes.length - unfinishedBytes(bytes)
    this.#torn[name] = Buffer.from(bytes.subarray(end))
    const text = bytes.toString('utf8', 0, end)
    if (text !== '') this.#hold(this.#sink({ type: name, text }))
  }

  /** Hands on the rest: nothing more is written. */
  end(): void {
    this.flush()
    for (const name of ['stdout', 'stderr'] as const) {
      const torn = this.#torn[name]
      if (torn.length > 0) this.#hold(this.#sink({ type: name, text: torn.toString('utf8') }))
      this.#torn[name] = Buffer.alloc(0)
    }
  }

  /** Resolves when whoever takes the events is ready for the next. */
  async drained(): Promise<void> {
    while (this.#held) await this.#held
  }

  #hold(taken: void | Promise<void>): void {
    if (!taken) return
    // A sink that failed takes nothing more; the cell goes on.
    const held: Promise<void> = Promise.allSettled([this.#held, taken]).then(() => {
      if (this.#held === held) this.#held = undefined
    })
    this.#held = held
  }
}

// What a kernel's process prints, as events of the cell that runs. Bytes become text here, at the boundaries of characters, and
// what comes in quick succession becomes one event. What is printed while no cell runs belongs to nobody and goes nowhere.

import type { Readable } from 'node:stream'
import { unfinishedBytes } from '../../command/lines.ts'
import type { OutputName } from '../../command/output.ts'
import type { CellEvent, CellSink } from '../engine.ts'

/** Text that waits longer for more of its kind is an event. */
const GATHER_MS = 10
const GATHER_BYTES = 64 << 10
/** The most that a pipe or socket pair holds (Linux: fs.pipe-max-size). */
const MAX_PIPE_BYTES = 1 << 20

export class KernelOutput {
  readonly #streams: Readable[]
  #sink: CellSink | undefined
  /** What has been read and not been handed on; all of one stream. */
  #gathered: Buffer[] = []
  #gatheredBytes = 0
  #gatheredName: OutputName = 'stdout'
  #timer: NodeJS.Timeout | undefined
  /** By stream: the beginning of a character whose end has not come. */
  readonly #torn = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) }
  #bytes = 0
  #held: Promise<void> | undefined

  constructor({ stdout, stderr }: { stdout: Readable; stderr?: Readable }) {
    this.#streams = stderr ? [stdout, stderr] : [stdout]
    this.#attach(stdout, 'stdout')
    if (stderr) this.#attach(stderr, 'stderr')
  }

  /** From now on output goes to `sink`. */
  begin(sink: CellSink): void {
    this.#sink = sink
  }

  /** Hands an event on that stands for itself. */
  async put(event: CellEvent): Promise<void> {
    this.#hold(this.#sink?.(event))
    await this.#held
  }

  /**
   * Hands on what has been written so far. It is in the pipes by now, so a pipe that stays empty over a turn of the event loop
   * has given all of it, and so has one that gave more than a pipe can hold.
   */
  async settle(): Promise<void> {
    const most = this.#bytes + this.#streams.length * MAX_PIPE_BYTES
    while (this.#bytes < most) {
      if (this.#held) await this.#held
      const before = this.#bytes
      await turn()
      await turn()
      if (this.#bytes === before && !this.#held) break
    }
    this.#flush()
    await this.#held
  }

  /** The cell is over: what comes later is not its output. */
  end(): void {
    this.#flush()
    for (const name of ['stdout', 'stderr'] as const) {
      const torn = this.#torn[name]
      if (torn.length > 0) void this.#sink?.({ type: name, text: torn.toString('utf8') })
      this.#torn[name] = Buffer.alloc(0)
    }
    this.#sink = undefined
  }

  #attach(stream: Readable, name: OutputName): void {
    // A broken pipe has nothing more to give.
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length
      if (!this.#sink) return
      if (name !== this.#gatheredName) this.#flush()
      this.#gatheredName = name
      this.#gathered.push(chunk)
      this.#gatheredBytes += chunk.length
      if (this.#gatheredBytes >= GATHER_BYTES) this.#flush()
      else this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS)
    })
  }

  #flush(): void {
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
    if (text !== '') this.#hold(this.#sink?.({ type: name, text }))
  }

  /** Reads no more until whoever takes the events is ready for the next. */
  #hold(taken: void | Promise<void>): void {
    if (!taken) return
    for (const stream of this.#streams) stream.pause()
    const held = Promise.all([this.#held, taken]).then(
      () => {},
      // A sink that failed takes nothing more; the cell goes on.
      () => {},
    )
    this.#held = held
    void held.then(() => {
      if (this.#held !== held) return
      this.#held = undefined
      for (const stream of this.#streams) stream.resume()
    })
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

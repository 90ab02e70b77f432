// The output of a kernel's process, for the cell that runs. What is printed while none does belongs to nobody and goes nowhere.

import type { Readable } from 'node:stream'
import type { OutputName } from '../../command/output.ts'
import { turn } from '../../timer.ts'
import type { CellEvent, CellSink } from '../engine.ts'
import { CellOutput } from './cell-output.ts'

/** The most that a pipe or socket pair holds (Linux: fs.pipe-max-size). */
const MAX_PIPE_BYTES = 1 << 20

export class KernelOutput {
  readonly #streams: Readable[]
  #cell: CellOutput | undefined
  #bytes = 0

  constructor({ stdout, stderr }: { stdout: Readable; stderr?: Readable }) {
    this.#streams = stderr ? [stdout, stderr] : [stdout]
    this.#attach(stdout, 'stdout')
    if (stderr) this.#attach(stderr, 'stderr')
  }

  /** From now on output goes to `sink`. */
  begin(sink: CellSink): void {
    this.#cell = new CellOutput(sink)
  }

  /** Hands an event on that stands for itself. */
  async put(event: CellEvent): Promise<void> {
    this.#cell?.put(event)
    await this.#cell?.drained()
  }

  /**
   * Hands on what has been written so far. It is in the pipes by now, so a pipe that stays empty over a turn of the event loop
   * has given all of it, and so has one that gave more than a pipe can hold.
   */
  async settle(): Promise<void> {
    const most = this.#bytes + this.#streams.length * MAX_PIPE_BYTES
    while (this.#bytes < most) {
      await this.#cell?.drained()
      const before = this.#bytes
      await turn()
      await turn()
      if (this.#bytes === before && !this.#streams.some((stream) => stream.isPaused())) break
    }
    this.#cell?.flush()
    await this.#cell?.drained()
  }

  /** The cell is over: what comes later is not its output. */
  end(): void {
    this.#cell?.end()
    this.#cell = undefined
  }

  #attach(stream: Readable, name: OutputName): void {
    // A broken pipe has nothing more to give.
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length
      const cell = this.#cell
      if (!cell || cell.write(name, chunk)) return
      // Both: what one of them gives has its place among what the other gives.
      for (const each of this.#streams) each.pause()
      void cell.drained().then(() => {
        for (const each of this.#streams) each.resume()
      })
    })
  }
}

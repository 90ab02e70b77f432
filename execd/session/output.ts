// The output of one run. Every run has pipes of its own, so what is left in the background by one never writes into the stream of
// another. The shell lets go of them when the code has ended; usually nobody else holds them then, and their end is the end of the
// output. Otherwise someone may still have to hand on what the code wrote, as in `exec > >(tee log)`, so we wait for a little quiet.
// What comes later is read and goes nowhere: a server must not die of its next log line.

import { closeSync } from 'node:fs'
import type { OutputName } from '../command/output.ts'
import { within } from '../timer.ts'
import type { NamedPipe } from './pipes.ts'

const QUIET_MS = 100
const MAX_WAIT_MS = 1000
/** More than is in pipes, of which each holds 64 KiB: what a flood brings beyond, the code has not written. */
const MAX_LAST_BYTES = 512 << 10

export type RunSink = {
  /** Takes bytes. False asks to hold the writer back until `drained` resolves. */
  write(name: OutputName, bytes: Buffer): boolean
  drained(): Promise<void>
}

export class RunOutput {
  readonly #pipes: NamedPipe[]
  readonly #closed: Promise<unknown>
  #open = 0
  #bytes = 0
  #lastAt = 0
  #isEnding = false
  #isOver = false

  constructor(pipes: Record<OutputName, NamedPipe>, sink: RunSink) {
    this.#pipes = Object.values(pipes)
    this.#closed = Promise.all(
      Object.entries(pipes).map(([name, { read }]) => {
        this.#open++
        // A broken pipe has nothing more to give; `close` follows.
        read.on('error', () => {})
        read.on('data', (chunk: Buffer) => {
          this.#bytes += chunk.length
          this.#lastAt = performance.now()
          if (this.#isOver || sink.write(name as OutputName, chunk) || this.#isEnding) return
          read.pause()
          void sink.drained().then(() => read.resume())
        })
        return new Promise<void>((resolve) =>
          read.once('close', () => {
            this.#open--
            resolve()
          }),
        )
      }),
    )
  }

  /** To be called when the shell has let go of the pipes; resolves when all that the code wrote was handed on. */
  async finish(): Promise<void> {
    for (const { read, writeFd } of this.#pipes) {
      closeSync(writeFd)
      // There is nobody left to hold back, and the rest is no more than pipes hold.
      read.resume()
    }
    this.#isEnding = true
    const endedAt = performance.now()
    const mostBytes = this.#bytes + MAX_LAST_BYTES
    while (this.#open > 0 && this.#bytes < mostBytes) {
      const quietAt = Math.min(Math.max(this.#lastAt, endedAt) + QUIET_MS, endedAt + MAX_WAIT_MS)
      const restMs = quietAt - performance.now()
      if (restMs <= 0) break
      await within(this.#closed, restMs)
    }
    this.#isOver = true
  }
}

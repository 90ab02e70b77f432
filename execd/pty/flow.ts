// How long who waits for whom. A program waits for the client that holds its session only a moment: then it goes on, and the
// client gets later what there still is by then. What is typed waits for a program that does not read: for a while the client
// waits too, like the writer of a pipe, and then it is told, because it must be able to send a signal.

import { within } from '../timer.ts'
import type { Input, Program } from './program.ts'

/** Holds the program back while the holder takes its output more slowly than it comes. */
export class OutputFlow {
  readonly #holdMs: number
  #hold: { program: Program; timer: NodeJS.Timeout } | undefined
  /** The holder was too slow, and until it has caught up nobody waits for it. */
  #isLate = false

  constructor(holdMs: number) {
    this.#holdMs = holdMs
  }

  balance(program: Program | undefined, isHolderWaiting: boolean): void {
    if (!program || !isHolderWaiting) {
      this.reset()
      return
    }
    if (this.#hold || this.#isLate) return
    program.hold()
    const timer = setTimeout(() => {
      this.reset()
      this.#isLate = true
    }, this.#holdMs)
    this.#hold = { program, timer }
  }

  /** Nobody has to wait, as if there had been nobody slow. */
  reset(): void {
    this.#isLate = false
    if (!this.#hold) return
    clearTimeout(this.#hold.timer)
    this.#hold.program.release()
    this.#hold = undefined
  }
}

type Typist = { pause(): void; resume(): void }

/** Holds a client back while the program does not read what it types. */
export class InputFlow {
  readonly #waitMs: number
  #waiting: Typist | undefined

  constructor(waitMs: number) {
    this.#waitMs = waitMs
  }

  /** Types `bytes`; returns why that is not possible. */
  type(typist: Typist, input: Input | undefined, bytes: Buffer): string | undefined {
    if (!input) return 'No program runs'
    // What still comes of a client that waits was on its way.
    if (input.isFull && this.#waiting !== typist)
      return `The program does not read what it has been sent: ${bytes.length} bytes were dropped`
    if (!input.push(bytes)) return 'The program reads no input any more'
    if (input.isFull && this.#waiting !== typist) void this.#wait(typist, input)
    return undefined
  }

  async #wait(typist: Typist, input: Input): Promise<void> {
    this.#waiting = typist
    typist.pause()
    await within(input.drained(), this.#waitMs)
    if (this.#waiting === typist) this.#waiting = undefined
    typist.resume()
  }
}

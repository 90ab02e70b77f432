// Long work on files is done in slices of a few milliseconds on the one thread that also answers everyone else: asking the
// thread pool for each of 200,000 files would take many times as long. All that work at the same time take turns, one slice in
// each round of the event loop, so that other requests wait for one slice at most, however many searches there are.

const SLICE_MS = 4

export class Turns {
  readonly #waiting: (() => void)[] = []
  #isGiving = false

  /** Resolves when it is the caller's turn. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      if (this.#isGiving) return
      this.#isGiving = true
      setImmediate(this.#give)
    })
  }

  readonly #give = (): void => {
    this.#waiting.shift()?.()
    if (this.#waiting.length > 0) setImmediate(this.#give)
    else this.#isGiving = false
  }
}

/** The slices of one piece of work. It asks `isDue` between its steps and, when so, waits for `rest`. */
export class Pace {
  readonly #turns: Turns
  readonly #signal: AbortSignal
  #startedAt = performance.now()

  constructor(turns: Turns, signal: AbortSignal) {
    this.#turns = turns
    this.#signal = signal
  }

  get isDue(): boolean {
    return performance.now() - this.#startedAt > SLICE_MS
  }

  /** Throws once nobody wants the work any more. */
  async rest(): Promise<void> {
    this.#signal.throwIfAborted()
    await this.#turns.next()
    this.#signal.throwIfAborted()
    this.#startedAt = performance.now()
  }
}

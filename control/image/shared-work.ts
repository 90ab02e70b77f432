// Work that several may wait for, such as a pull. It is begun once, goes on for as long as somebody waits, and tells all of
// them how far it is.

export type Progress = (message: string) => void

export class SharedWork<T> {
  readonly #controller = new AbortController()
  readonly #waiters = new Set<Progress>()
  readonly #result: Promise<T>
  #message: string | undefined

  /** Begins. `work` is given up when `ended` aborts, or when everybody who has joined has left. */
  constructor(work: (signal: AbortSignal, progress: Progress) => Promise<T>, ended: AbortSignal) {
    this.#result = work(AbortSignal.any([ended, this.#controller.signal]), (message) => {
      this.#message = message
      for (const tell of this.#waiters) tell(message)
    })
    // Whoever waits sees it.
    this.#result.catch(() => {})
  }

  /** Whether everybody has left: nothing will come of it any more. */
  get isAbandoned(): boolean {
    return this.#controller.signal.aborted
  }

  /** Resolves once nothing goes on any more, however it ended. */
  async settled(): Promise<void> {
    await this.#result.catch(() => {})
  }

  /** What comes of it. Rejects with the signal's reason for who leaves; the others go on waiting. */
  async join(signal: AbortSignal, progress: Progress): Promise<T> {
    signal.throwIfAborted()
    // Each has an entry of its own, also two with the same function.
    const tell = (message: string) => progress(message)
    this.#waiters.add(tell)
    if (this.#message !== undefined) tell(this.#message)
    const left = Promise.withResolvers<never>()
    const leave = () => left.reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    try {
      return await Promise.race([this.#result, left.promise])
    } finally {
      signal.removeEventListener('abort', leave)
      this.#waiters.delete(tell)
      if (this.#waiters.size === 0) this.#controller.abort(new Error('Nobody waits for it any more'))
    }
  }
}

/** The work that is under way by this name, or what is begun now. A caller that leaves does not take it from the others. */
export function shareWork<T>(
  underWay: Map<string, SharedWork<T>>,
  name: string,
  ended: AbortSignal,
  work: (signal: AbortSignal, progress: Progress) => Promise<T>,
): SharedWork<T> {
  const running = underWay.get(name)
  if (running && !running.isAbandoned) return running
  const begun = new SharedWork<T>(work, ended)
  underWay.set(name, begun)
  void begun.settled().then(() => {
    if (underWay.get(name) === begun) underWay.delete(name)
  })
  return begun
}

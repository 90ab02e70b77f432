/** Things that must not happen at once to one sandbox happen one after the other. */
export class Exclusive {
  readonly #last = new Map<string, Promise<void>>()

  /** Does `work` once every earlier one for `id` has ended, however it ended. Rejects with the signal's reason when that comes before. */
  async run<T>(id: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#last.get(id)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last.set(id, promise)
    const leave = () => {
      resolve()
      if (this.#last.get(id) === promise) this.#last.delete(id)
    }
    try {
      if (before) await orAborted(before, signal)
      signal?.throwIfAborted()
    } catch (error) {
      // Whoever comes after this one waits for what is before it all the same.
      if (before) void before.then(leave)
      else leave()
      throw error
    }
    try {
      return await work()
    } finally {
      leave()
    }
  }
}

/** Resolves with what never rejects. Rejects with the signal's reason when that comes first. */
function orAborted(awaited: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return awaited
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    void awaited.then(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
  })
}

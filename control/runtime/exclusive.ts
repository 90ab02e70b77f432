/** Things that must not happen at once to one sandbox happen one after the other. */
export class Exclusive {
  readonly #last = new Map<string, Promise<void>>()

  /** Does `work` once every earlier one for `id` has ended, however it ended. */
  async run<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(id)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last.set(id, promise)
    try {
      await before
      return await work()
    } finally {
      resolve()
      if (this.#last.get(id) === promise) this.#last.delete(id)
    }
  }
}

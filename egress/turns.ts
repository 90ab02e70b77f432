// Changes of one sandbox happen one after the other, those of different sandboxes together, and none while something is done to all.

export class Turns {
  /** The last change of each sandbox that has one under way. */
  readonly #last = new Map<string, Promise<unknown>>()
  #ofAll: Promise<unknown> | undefined

  /** The sandboxes that have a change under way. */
  ids(): IterableIterator<string> {
    return this.#last.keys()
  }

  async take<T>(id: string, work: () => Promise<T>): Promise<T> {
    while (this.#ofAll) await this.#ofAll.catch(() => {})
    const before = this.#last.get(id) ?? Promise.resolve()
    const turn = before.catch(() => {}).then(work)
    this.#last.set(id, turn)
    try {
      return await turn
    } finally {
      if (this.#last.get(id) === turn) this.#last.delete(id)
    }
  }

  /** Does something to all, once what is under way has ended; what is to be changed meanwhile waits. */
  takeAll(work: () => Promise<void>): Promise<void> {
    const run = async () => {
      await Promise.allSettled(this.#last.values())
      await work()
    }
    const turn = (this.#ofAll ?? Promise.resolve()).catch(() => {}).then(run)
    this.#ofAll = turn
    return turn.finally(() => {
      if (this.#ofAll === turn) this.#ofAll = undefined
    })
  }
}

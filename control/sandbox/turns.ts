// Changes of one sandbox happen one after the other, those of different sandboxes side by side. Whoever gets the turn reads
// the row anew, because what it saw while waiting may be over.

export class Turns {
  readonly #last = new Map<string, Promise<void>>()

  /** Runs `work` once every earlier work for `id` has ended, however it ended. */
  async take<T>(id: string, work: () => Promise<T> | T): Promise<T> {
    const before = this.#last.get(id)
    let end = () => {}
    const mine = new Promise<void>((resolve) => {
      end = resolve
    })
    this.#last.set(id, mine)
    try {
      await before
      return await work()
    } finally {
      end()
      if (this.#last.get(id) === mine) this.#last.delete(id)
    }
  }

  /** Whether somebody has or awaits the turn for `id`. */
  isBusy(id: string): boolean {
    return this.#last.has(id)
  }

  /** Resolves when no turn is held or awaited any more. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values())
  }
}

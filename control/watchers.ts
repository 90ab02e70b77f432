/** Those who want to be told of something, each until it says that it does not any more. */
export class Watchers<Told extends unknown[]> {
  readonly #all = new Set<(...told: Told) => void>()

  /** Calls `watcher` each time, until the returned function is called. */
  add(watcher: (...told: Told) => void): () => void {
    this.#all.add(watcher)
    return () => void this.#all.delete(watcher)
  }

  tell(...told: Told): void {
    for (const watcher of this.#all) watcher(...told)
  }

  clear(): void {
    this.#all.clear()
  }
}

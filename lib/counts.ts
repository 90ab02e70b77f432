// How many there are of each at the moment: connections of a client, questions of a sandbox. Whoever takes one gets what gives it back,
// and one that has none left is not remembered.

export class Counts<Key = string> {
  #total = 0
  readonly #of = new Map<Key, number>()

  /** Of all together. */
  get total(): number {
    return this.#total
  }

  of(whose: Key): number {
    return this.#of.get(whose) ?? 0
  }

  /** Those that have any. */
  keys(): MapIterator<Key> {
    return this.#of.keys()
  }

  /** Counts one more until the function that is returned is called, however often that is. */
  add(whose: Key): () => void {
    this.#total++
    this.#of.set(whose, this.of(whose) + 1)
    let isBack = false
    return () => {
      if (isBack) return
      isBack = true
      this.#total--
      const left = this.of(whose) - 1
      if (left > 0) this.#of.set(whose, left)
      else this.#of.delete(whose)
    }
  }
}

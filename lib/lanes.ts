// Places that many share, such as what is done side by side or may wait, where nobody keeps the others out by how many it takes: each
// may have as many as are left free. One alone gets half of them, and of many each about as many, so that there is always one for
// whoever comes next.

export class Lanes {
  readonly #count: number
  #taken = 0
  readonly #of = new Map<string, number>()

  constructor(count: number) {
    this.#count = count
  }

  get free(): number {
    return this.#count - this.#taken
  }

  /** Whether somebody may have one more. */
  isOpenTo(whose: string): boolean {
    return (this.#of.get(whose) ?? 0) < this.free
  }

  /** Who may have no more for now, of those who have any. */
  full(): string[] {
    return [...this.#of.keys()].filter((whose) => !this.isOpenTo(whose))
  }

  /** Takes one until the function that is returned is called, once. */
  take(whose: string): () => void {
    this.#taken++
    this.#of.set(whose, (this.#of.get(whose) ?? 0) + 1)
    return () => {
      this.#taken--
      const left = (this.#of.get(whose) ?? 0) - 1
      if (left > 0) this.#of.set(whose, left)
      else this.#of.delete(whose)
    }
  }
}

// What takes long is done side by side, in so many lanes, and nobody holds up the others by how much they have: a tenant may have as
// many lanes as are left free. One alone gets half of them, and of many each about as much, so that there is always one for whoever
// comes next.

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

  /** Whether a tenant may have one more. */
  isOpenTo(tenant: string): boolean {
    return (this.#of.get(tenant) ?? 0) < this.free
  }

  /** Who may have no more for now, of those who have any. */
  full(): string[] {
    return [...this.#of.keys()].filter((tenant) => !this.isOpenTo(tenant))
  }

  /** Takes one until the function that is returned is called, once. */
  take(tenant: string): () => void {
    this.#taken++
    this.#of.set(tenant, (this.#of.get(tenant) ?? 0) + 1)
    return () => {
      this.#taken--
      const left = (this.#of.get(tenant) ?? 0) - 1
      if (left > 0) this.#of.set(tenant, left)
      else this.#of.delete(tenant)
    }
  }
}

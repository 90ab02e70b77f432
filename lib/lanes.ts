// Places that many share, such as what is done side by side or may wait, where nobody keeps the others out by how many it takes: each
// may have as many as are left free. One alone gets half of them, and of many each about as many, so that there is always one for
// whoever comes next.

import { Counts } from './counts.ts'

export type LaneLimits = {
  /** Of one alone, however many are free. */
  each?: number
}

export class Lanes {
  readonly #count: number
  readonly #each: number
  readonly #taken = new Counts()

  constructor(count: number, { each = count }: LaneLimits = {}) {
    this.#count = count
    this.#each = each
  }

  get free(): number {
    return this.#count - this.#taken.total
  }

  get taken(): number {
    return this.#taken.total
  }

  /** Whether somebody may have one more. */
  isOpenTo(whose: string): boolean {
    return this.#taken.of(whose) < Math.min(this.free, this.#each)
  }

  /** Who may have no more for now, of those who have any. */
  full(): string[] {
    return [...this.#taken.keys()].filter((whose) => !this.isOpenTo(whose))
  }

  /** Takes one until the function that is returned is called. */
  take(whose: string): () => void {
    return this.#taken.add(whose)
  }
}

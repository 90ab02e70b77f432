// Bodies that are held until they are whole, as texts in them are replaced: each sandbox may have some at a time, so that none takes
// the memory of all by beginning many.

export class HeldBodies {
  readonly #most: number
  readonly #of = new Map<string, number>()

  /** `most` bodies of each sandbox at a time. */
  constructor(most: number) {
    this.#most = most
  }

  /** Counts one more; what is returned gives it back, however often it is called. Undefined: there are as many as may be. */
  take(sandboxId: string): (() => void) | undefined {
    const count = this.#of.get(sandboxId) ?? 0
    if (count >= this.#most) return undefined
    this.#of.set(sandboxId, count + 1)
    let isBack = false
    return () => {
      if (isBack) return
      isBack = true
      const left = (this.#of.get(sandboxId) ?? 1) - 1
      if (left > 0) this.#of.set(sandboxId, left)
      else this.#of.delete(sandboxId)
    }
  }
}

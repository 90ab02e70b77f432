// Which images somebody is about to use. A start takes its image before it looks whether it is there, and gives it back when what it has
// made says so itself; whoever removes one asks here last.

export class Pins {
  readonly #held = new Map<string, number>()
  readonly #stamps = new Map<string, number>()

  /** Holds an image until it is disposed of. */
  take(id: string): Disposable {
    this.#held.set(id, this.count(id) + 1)
    this.#stamps.set(id, this.stamp(id) + 1)
    let isHeld = true
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return
        isHeld = false
        const left = this.count(id) - 1
        if (left > 0) this.#held.set(id, left)
        else this.#held.delete(id)
      },
    }
  }

  count(id: string): number {
    return this.#held.get(id) ?? 0
  }

  /** Differs from an earlier one when somebody has held the image in between. */
  stamp(id: string): number {
    return this.#stamps.get(id) ?? 0
  }
}

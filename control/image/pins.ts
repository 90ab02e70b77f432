// Which images somebody is about to use. A start takes its image before it looks whether it is there, and gives it back when what it has
// made says so itself; whoever removes one asks here last.

import { Counts } from '../../lib/counts.ts'

export class Pins {
  readonly #held = new Counts()
  readonly #stamps = new Map<string, number>()

  /** Holds an image until it is disposed of. */
  take(id: string): Disposable {
    this.#stamps.set(id, this.stamp(id) + 1)
    return { [Symbol.dispose]: this.#held.add(id) }
  }

  count(id: string): number {
    return this.#held.of(id)
  }

  /** Differs from an earlier one when somebody has held the image in between. */
  stamp(id: string): number {
    return this.#stamps.get(id) ?? 0
  }
}

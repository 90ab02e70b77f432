// How much was guessed from where. A signature is short, so who guesses at it is not heard any more after some tries; what is long
// enough is still compared, so that others behind the same address are let in.

import { sourceOf } from '../../lib/source-of.ts'

/** So many tries are a slip of somebody's, and so much later there is one more. */
const BURST = 20
const REFILL_MS = 5000
/** So many sources are remembered; the one that was seen longest ago is forgotten for a new one. */
const MAX_SOURCES = 10_000

export class Guesses {
  /** When each source has no tries less than all any more. */
  readonly #fullAt = new Map<string, number>()

  note(address: string, now: number): void {
    const source = sourceOf(address)
    const fullAt = Math.max(this.#fullAt.get(source) ?? now, now) + REFILL_MS
    // What was touched last stands last.
    this.#fullAt.delete(source)
    if (this.#fullAt.size >= MAX_SOURCES) {
      const [oldest] = this.#fullAt.keys()
      if (oldest !== undefined) this.#fullAt.delete(oldest)
    }
    this.#fullAt.set(source, Math.min(fullAt, now + BURST * REFILL_MS))
  }

  /** Whether a source has used up its tries. */
  isSuspect(address: string, now: number): boolean {
    if (this.#fullAt.size === 0) return false
    const fullAt = this.#fullAt.get(sourceOf(address))
    return fullAt !== undefined && fullAt - now > (BURST - 1) * REFILL_MS
  }
}

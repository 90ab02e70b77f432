// How much of what costs the other side nothing it may do: so much at once, and so much a second on the long run.

export type AllowanceLimits = { burst: number; perSecond: number }

export class Allowance {
  readonly #limits: AllowanceLimits
  #left: number
  #at: number

  constructor(limits: AllowanceLimits, now = performance.now()) {
    this.#limits = limits
    this.#left = limits.burst
    this.#at = now
  }

  /** Whether there was one left. */
  take(now = performance.now()): boolean {
    const { burst, perSecond } = this.#limits
    this.#left = Math.min(burst, this.#left + ((now - this.#at) / 1000) * perSecond)
    this.#at = now
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}

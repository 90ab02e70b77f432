// Sandboxes of which something went wrong after the caller was answered, or could not be put right at once: a removal that
// failed, a row that could not be written because the disk was full. They are looked at again soon, with growing pauses,
// instead of when the next pass over everything happens to come. The pauses differ by chance, so that what failed together is
// not tried again together.

import { type Backoff, backoffMs } from '../async.ts'
import { Wake } from './wake.ts'

const PAUSES: Backoff = { firstMs: 250, longestMs: 30_000 }

type Doubt = {
  attempts: number
  at: number
  /** Whether somebody looks at it; added again meanwhile, it stays in doubt. */
  isHeld: boolean
}

export class Doubts {
  readonly #entries = new Map<string, Doubt>()
  readonly #wake = new Wake()
  readonly #random: () => number

  /** `random` gives numbers from 0 up to 1. */
  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  /** Notes that a sandbox has to be looked at. */
  add(id: string, now: number): void {
    const attempts = (this.#entries.get(id)?.attempts ?? 0) + 1
    this.#entries.set(id, { attempts, at: now + backoffMs(PAUSES, attempts, this.#random()), isHeld: false })
    this.#wake.call()
  }

  /** Takes at most `limit` of those whose time has come, each for one to look at until `add` or `settle`. */
  take(now: number, limit: number): string[] {
    const taken: string[] = []
    for (const [id, doubt] of this.#entries) {
      if (taken.length >= limit) break
      if (doubt.isHeld || doubt.at > now) continue
      doubt.isHeld = true
      taken.push(id)
    }
    return taken
  }

  /** Forgets a sandbox that was taken and is as it should be, unless something new is in doubt. */
  settle(id: string): void {
    if (this.#entries.get(id)?.isHeld) this.#entries.delete(id)
    this.#wake.call()
  }

  /** The wall clock has jumped: what was to be in a moment still is. */
  shift(byMs: number): void {
    for (const doubt of this.#entries.values()) doubt.at += byMs
  }

  /** Waits until there may be something to take, or the signal aborts. */
  async wait(now: number, signal: AbortSignal): Promise<void> {
    let next = now + PAUSES.longestMs
    for (const { at, isHeld } of this.#entries.values()) if (!isHeld) next = Math.min(next, at)
    await this.#wake.wait(signal, Math.max(next - now, 5))
  }
}

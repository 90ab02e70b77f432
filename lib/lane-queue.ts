// Work for many that goes on side by side in lanes (lanes.ts), where what finds no place waits: in the order in which it came, each
// one's for itself, so that nobody waits behind the work of another that has its share already.

import type { Lanes } from './lanes.ts'

type Waiting = () => void

export class LaneQueue {
  readonly #lanes: Lanes
  readonly #waiting = new Map<string, Set<Waiting>>()

  constructor(lanes: Lanes) {
    this.#lanes = lanes
  }

  /** Of all, how much waits. */
  get waiting(): number {
    let count = 0
    for (const own of this.#waiting.values()) count += own.size
    return count
  }

  /** What gives the place back, if there is one right now and nobody of the same waits for it. */
  tryEnter(whose: string): (() => void) | undefined {
    return !this.#waiting.has(whose) && this.#lanes.isOpenTo(whose) ? this.#take(whose) : undefined
  }

  /** Resolves with what gives the place back, or rejects with the reason of the signal. */
  async enter(whose: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    const leave = this.tryEnter(whose)
    if (leave) return leave
    const own = this.#waiting.get(whose) ?? new Set<Waiting>()
    this.#waiting.set(whose, own)
    return await new Promise<() => void>((resolve, reject) => {
      const leaveQueue = () => {
        own.delete(begin)
        if (own.size === 0) this.#waiting.delete(whose)
        signal.removeEventListener('abort', giveUp)
      }
      const begin = () => {
        leaveQueue()
        resolve(this.#take(whose))
      }
      const giveUp = () => {
        leaveQueue()
        reject(signal.reason)
      }
      own.add(begin)
      signal.addEventListener('abort', giveUp, { once: true })
    })
  }

  #take(whose: string): () => void {
    const leave = this.#lanes.take(whose)
    return () => {
      leave()
      this.#beginNext()
    }
  }

  /** A place that is given back may let in more than one: what each may have depends on what is free. */
  #beginNext(): void {
    for (const [whose, own] of this.#waiting)
      for (const begin of own) {
        if (!this.#lanes.isOpenTo(whose)) break
        begin()
      }
  }
}

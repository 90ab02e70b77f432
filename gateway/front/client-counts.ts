// How many connections each client has, so that none takes all there are. A client of IPv6 has a whole /64 to itself and is counted
// by that; this machine is the operator's, and whoever stands before the gateway there counts for many.

import { isLoopback } from '../../lib/config.ts'
import { sourceOf } from '../../lib/source-of.ts'

export class ClientCounts {
  readonly #most: number
  readonly #counts = new Map<string, number>()

  constructor(most: number) {
    this.#most = most
  }

  /** Counts one more; returns what gives it back, or undefined when the client has as many as it may. */
  take(address: string): (() => void) | undefined {
    const key = countedAs(address)
    if (key === undefined) return () => {}
    const count = this.#counts.get(key) ?? 0
    if (count >= this.#most) return undefined
    this.#counts.set(key, count + 1)
    let isBack = false
    return () => {
      if (isBack) return
      isBack = true
      const left = (this.#counts.get(key) ?? 1) - 1
      if (left > 0) this.#counts.set(key, left)
      else this.#counts.delete(key)
    }
  }
}

/** The name under which an address is counted; undefined when it is not. */
export function countedAs(address: string): string | undefined {
  if (isLoopback(address)) return undefined
  return sourceOf(address)
}

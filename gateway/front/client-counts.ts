// How many connections each client has, so that none takes all there are. A client of IPv6 has a whole /64 to itself and is counted
// by that; this machine is the operator's, and whoever stands before the gateway there counts for many.

import { isLoopback } from '../../lib/config.ts'
import { Counts } from '../../lib/counts.ts'
import { sourceOf } from '../../lib/source-of.ts'

export class ClientCounts {
  readonly #most: number
  readonly #counts = new Counts()

  constructor(most: number) {
    this.#most = most
  }

  /** Counts one more; returns what gives it back, or undefined when the client has as many as it may. */
  take(address: string): (() => void) | undefined {
    const key = countedAs(address)
    if (key === undefined) return () => {}
    return this.#counts.of(key) < this.#most ? this.#counts.add(key) : undefined
  }
}

/** The name under which an address is counted; undefined when it is not. */
export function countedAs(address: string): string | undefined {
  if (isLoopback(address)) return undefined
  return sourceOf(address)
}

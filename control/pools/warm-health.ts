// Whether warm sandboxes still answer, before somebody is given one that does not.

import { messageOf } from '../../lib/errors.ts'
import type { PoolDeps } from './pools.ts'

const PING_EVERY_MS = 30_000
const PING_TIMEOUT_MS = 5000
/** So many pings in a row must fail before a sandbox counts as broken. */
const MISSED_PINGS = 2

type Health = { askedAt: number; missed: number }

export class WarmHealth {
  readonly #deps: Pick<PoolDeps, 'lives' | 'execd'>
  readonly #known = new Map<string, Health>()

  constructor(deps: Pick<PoolDeps, 'lives' | 'execd'>) {
    this.#deps = deps
  }

  /** Whether it is time to ask a sandbox again; one that is new counts as just asked. */
  isDue(id: string): boolean {
    return this.#deps.lives.now() - this.#of(id).askedAt >= PING_EVERY_MS
  }

  /** Asks, and tells whether the sandbox can be kept. */
  async answers(id: string): Promise<boolean> {
    const { lives, execd } = this.#deps
    const health = this.#of(id)
    health.askedAt = lives.now()
    const row = lives.store.get(id)
    if (!row?.address) return true
    const signal = AbortSignal.any([lives.signal, AbortSignal.timeout(PING_TIMEOUT_MS)])
    try {
      await execd.ping({ address: row.address, token: row.execdToken }, signal)
      health.missed = 0
      return true
    } catch (error) {
      if (lives.signal.aborted || ++health.missed < MISSED_PINGS) return true
      lives.log.warn('a warm sandbox does not answer', { sandbox: id, error: messageOf(error) })
      return false
    }
  }

  /** Forgets all but these. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#known.keys()) if (!ids.has(id)) this.#known.delete(id)
  }

  /** The wall clock has jumped: what was to be in a moment still is. */
  shift(byMs: number): void {
    for (const health of this.#known.values()) health.askedAt += byMs
  }

  #of(id: string): Health {
    let health = this.#known.get(id)
    if (!health) {
      health = { askedAt: this.#deps.lives.now(), missed: 0 }
      this.#known.set(id, health)
    }
    return health
  }
}

// How fast a tenant may ask, whatever it asks for: what shares one thread and one database is shared by all. A tenant has a minute's
// worth of requests, which may come at once, and gets them back evenly. Times are of a clock that nobody sets.

import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../app-deps.ts'
import { refusal } from '../errors.ts'

const MINUTE_MS = 60_000
/** Tenants that have used nothing for a minute are forgotten once so many are known. */
const SWEEP_AT = 1024

export type RateDecision = { isAllowed: true; paidUntil: number } | { isAllowed: false; waitMs: number }

/**
 * Whether one more request may come at `now`. `paidUntil` is when all that came before is paid for, at a minute's share each: what
 * is more than a minute ahead is too much.
 */
export function decideRate(paidUntil: number, perMinute: number, now: number): RateDecision {
  const next = Math.max(paidUntil, now) + MINUTE_MS / perMinute
  const aheadMs = next - now - MINUTE_MS
  // Shares of a minute do not add up to it exactly.
  return aheadMs < 0.001 ? { isAllowed: true, paidUntil: next } : { isAllowed: false, waitMs: aheadMs }
}

export class RequestRate {
  readonly #clock: () => number
  #perMinute: number | undefined
  readonly #paidUntil = new Map<string, number>()
  #sweepAt = SWEEP_AT

  constructor(perMinute?: number, clock: () => number = () => performance.now()) {
    this.#perMinute = perMinute
    this.#clock = clock
  }

  /** Takes the rate of a configuration that was read anew; without one there is no bound. */
  configure(perMinute: number | undefined): void {
    this.#perMinute = perMinute
  }

  /** How many tenants are known. */
  get size(): number {
    return this.#paidUntil.size
  }

  /** Lets one more request of a tenant in, or throws 429. */
  admit(tenant: string): void {
    const perMinute = this.#perMinute
    if (perMinute === undefined) return
    const now = this.#clock()
    const decision = decideRate(this.#paidUntil.get(tenant) ?? 0, perMinute, now)
    if (!decision.isAllowed)
      throw refusal(
        'GENERAL::TOO_MANY_REQUESTS',
        `Tenant "${tenant}" may send ${perMinute} requests in a minute, and has sent more`,
        { headers: { 'Retry-After': String(Math.ceil(decision.waitMs / 1000)) } },
      )
    this.#paidUntil.set(tenant, decision.paidUntil)
    if (this.#paidUntil.size >= this.#sweepAt) this.#sweep(now)
  }

  #sweep(now: number): void {
    for (const [tenant, paidUntil] of this.#paidUntil) if (paidUntil <= now) this.#paidUntil.delete(tenant)
    this.#sweepAt = Math.max(SWEEP_AT, this.#paidUntil.size * 2)
  }
}

/** Comes behind who finds out who asks. The operator's keys have no bound. */
export function limitRate(rate: RequestRate): MiddlewareHandler<AppEnv> {
  return async (context, next) => {
    // Nobody on pages that are open to all.
    const principal = context.get('principal') as AppEnv['Variables']['principal'] | undefined
    if (principal?.tenant !== undefined) rate.admit(principal.tenant)
    await next()
  }
}

// Telling a queue in Redis which sandboxes have traffic, for those who listen to it beside control (contract: gateway.md 6). No request
// waits for it: what was seen is kept for each sandbox, and pushed in one go.

import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { formatIntent, type RenewQueue } from '../../lib/renew-queue.ts'

/** So many sandboxes are remembered at most. */
const MAX_SANDBOXES = 8192
const EVERY_MS = 250

export type RenewIntentsOptions = {
  queue: Pick<RenewQueue, 'push'>
  minIntervalMs: number
  maxLength: number
  log: Logger
  everyMs?: number
  /** Milliseconds since 1970. */
  now?: () => number
}

export class RenewIntents {
  readonly #options: Required<RenewIntentsOptions>
  /** What is to be told. */
  readonly #seen = new Map<string, { at: number; port: number | undefined }>()
  /** When it was told last, the longest ago first. */
  readonly #toldAt = new Map<string, number>()
  #lost = 0

  constructor(options: RenewIntentsOptions) {
    this.#options = { everyMs: EVERY_MS, now: Date.now, ...options }
  }

  /** Notes traffic of a sandbox, unless it was told of a moment ago. */
  note(id: string, port?: number): void {
    const at = this.#options.now()
    const toldAt = this.#toldAt.get(id)
    if (toldAt !== undefined && at - toldAt < this.#options.minIntervalMs) return
    if (this.#seen.size >= MAX_SANDBOXES && !this.#seen.has(id)) this.#lost++
    else this.#seen.set(id, { at, port })
  }

  /** Tells now and again, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // The wait ends early when the gateway stops, which the loop's condition sees.
      await delay(this.#options.everyMs, undefined, { signal }).catch(() => {})
      await this.tell()
    }
  }

  /** Tells all there is. What cannot be told is told the next time. */
  async tell(): Promise<void> {
    const { queue, maxLength, log } = this.#options
    if (this.#seen.size === 0) return
    const told = [...this.#seen]
    try {
      await queue.push(
        told.map(([id, { at, port }]) => formatIntent(id, at, port)),
        maxLength,
      )
    } catch (error) {
      log.debug('the queue of renew intents takes nothing yet', { error: messageOf(error) })
      return
    }
    for (const [id, seen] of told) {
      if (this.#seen.get(id) === seen) this.#seen.delete(id)
      this.#toldAt.delete(id)
      this.#toldAt.set(id, seen.at)
    }
    for (const [id] of this.#toldAt) {
      if (this.#toldAt.size <= MAX_SANDBOXES) break
      this.#toldAt.delete(id)
    }
    if (this.#lost > 0)
      log.warn('traffic was not told to the queue of renew intents', { sandboxes: this.#lost })
    this.#lost = 0
  }
}

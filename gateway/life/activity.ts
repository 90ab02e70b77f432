// Telling control which sandboxes have traffic, so that it can renew them (lib/api/routes-feed.ts, POST /activity). Nothing is
// told per request: what was seen is kept per sandbox, and told every few seconds, of those that control wants to hear of.
// While control is away it is kept, and when control was started anew, all of it is told again.

import { setTimeout as delay } from 'node:timers/promises'
import {
  type ActivityAnswer,
  type ActivityReport,
  type ActivityRequest,
  MAX_REPORTS,
} from '../../lib/api/routes-feed.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { askControl } from '../ask-control.ts'

/** Of longer ago nothing is told: control would not believe it. */
const MAX_AGE_MS = 10 * 60_000

/** Who is told of traffic. */
export type TrafficLog = {
  /** At `at`, in milliseconds of any clock that goes on evenly; on which port, when it is a request. */
  touch(id: string, at: number, port?: number): void
  forget(id: string): void
}

/** When each sandbox had traffic last. As large as the table of routes at most, as whoever leaves it is forgotten. */
export class ActivityLog implements TrafficLog {
  readonly #seen = new Map<string, { at: number; toldAt: number }>()

  touch(id: string, at: number): void {
    const seen = this.#seen.get(id)
    if (seen) seen.at = at
    else this.#seen.set(id, { at, toldAt: Number.NEGATIVE_INFINITY })
  }

  forget(id: string): void {
    this.#seen.delete(id)
  }

  /** At most `limit` of what control has not been told of. */
  untold(limit: number, now: number): ActivityReport[] {
    const reports: ActivityReport[] = []
    for (const [id, { at, toldAt }] of this.#seen) {
      if (now - at > MAX_AGE_MS) this.#seen.delete(id)
      else if (at > toldAt) reports.push({ id, ageMs: Math.max(0, Math.round(now - at)) })
      if (reports.length >= limit) break
    }
    return reports
  }

  /** Control has taken what was untold at `now`. */
  confirm(reports: readonly ActivityReport[], now: number): void {
    for (const { id, ageMs } of reports) {
      const seen = this.#seen.get(id)
      // The age was rounded.
      if (seen) seen.toldAt = Math.max(seen.toldAt, Math.min(seen.at, now - ageMs + 1))
    }
  }

  /** Lets everything be told again. */
  untell(): void {
    for (const seen of this.#seen.values()) seen.toldAt = Number.NEGATIVE_INFINITY
  }
}

export type ActivityReporterOptions = {
  activity: ActivityLog
  socketPath: string
  log: Logger
  everyMs?: number
  timeoutMs?: number
  now?: () => number
}

export class ActivityReporter {
  readonly #options: Required<ActivityReporterOptions>
  #epoch: string | undefined

  constructor(options: ActivityReporterOptions) {
    this.#options = { everyMs: 2000, timeoutMs: 2000, now: () => performance.now(), ...options }
  }

  /** Tells now and again, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // The wait ends early when the gateway stops, which the loop's condition sees.
      await delay(this.#options.everyMs, undefined, { signal }).catch(() => {})
      await this.tell()
    }
  }

  /** Tells all there is. What cannot be told now is told the next time. */
  async tell(): Promise<void> {
    const { activity, log, now } = this.#options
    try {
      for (;;) {
        const at = now()
        const sandboxes = activity.untold(MAX_REPORTS, at)
        if (sandboxes.length === 0) return
        const { epoch } = await this.#post({ sandboxes })
        // A control that was started anew may not know what another one was told.
        if (this.#epoch !== undefined && epoch !== this.#epoch) activity.untell()
        this.#epoch = epoch
        activity.confirm(sandboxes, at)
        if (sandboxes.length < MAX_REPORTS) return
      }
    } catch (error) {
      log.debug('cannot tell control of traffic yet', { error: messageOf(error) })
    }
  }

  async #post(body: ActivityRequest): Promise<ActivityAnswer> {
    const { socketPath, timeoutMs } = this.#options
    const { status, text } = await askControl({
      socketPath,
      method: 'POST',
      path: '/activity',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (status !== 200) throw new Error(`Control answers ${status}`)
    return JSON.parse(text) as ActivityAnswer
  }
}

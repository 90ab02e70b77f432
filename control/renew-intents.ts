// Taking renew intents out of the queue in Redis (contract: gateway.md 6). What they say is the same as what our gateways tell, and is
// judged by the same rules (sandbox/activity.ts).

import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { parseIntent, type RenewQueue } from '../lib/renew-queue.ts'
import type { Activity } from './sandbox/activity.ts'

const POP_SECONDS = 5
const PAUSE_MS = 1000
/** Older ones say nothing of now. */
const MAX_AGE_MS = 300_000

export type RenewIntentsOptions = {
  queue: Pick<RenewQueue, 'pop'>
  activity: Pick<Activity, 'record'>
  now: () => number
  log: Logger
  signal: AbortSignal
  pauseMs?: number
}

/** Takes what comes until the signal aborts. The queue's owner closes it, which ends the last wait. */
export async function runRenewIntents({
  queue,
  activity,
  now,
  log,
  signal,
  pauseMs = PAUSE_MS,
}: RenewIntentsOptions): Promise<void> {
  while (!signal.aborted) {
    try {
      const text = await queue.pop(POP_SECONDS)
      const intent = text === undefined ? undefined : parseIntent(text)
      const ageMs = intent ? now() - intent.at : 0
      // The clock of whoever wrote it may be ahead a little.
      if (intent && ageMs <= MAX_AGE_MS) activity.record([{ id: intent.id, ageMs: Math.max(0, ageMs) }])
      else if (text !== undefined)
        log.debug('a renew intent was left aside', { isKnown: intent !== undefined })
    } catch (error) {
      if (signal.aborted) return
      log.debug('no renew intents can be taken yet', { error: messageOf(error) })
      // The wait ends early when the program stops, which the loop's condition sees.
      await delay(pauseMs, undefined, { signal }).catch(() => {})
    }
  }
}

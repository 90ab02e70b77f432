// Whether this server can do its work now: each thing that it needs is asked, within a time. What was found holds for a moment,
// so that many who ask cost as little as one; and whoever asks is told why not, in words that give nothing away.

import { setTimeout as delay } from 'node:timers/promises'
import type { Readiness as ReadinessAnswer } from '../../lib/api/operations.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'

/** Rejects, or throws, when what it asks does not work. */
export type Check = (signal: AbortSignal) => Promise<void> | void

export type ReadinessOptions = {
  checks: Record<string, Check>
  log: Logger
  /** How long one check has. */
  timeoutMs?: number
  /** How long an answer holds. */
  holdsMs?: number
  now?: () => number
}

export type Readiness = { ask(): Promise<ReadinessAnswer> }

/** What a check says that may be told to anybody; any other error is told to the log alone. */
export class NotReady extends Error {
  override name = 'NotReady'
}

export function createReadiness({
  checks,
  log,
  timeoutMs = 2000,
  holdsMs = 1000,
  now = () => performance.now(),
}: ReadinessOptions): Readiness {
  let last: { answer: Promise<ReadinessAnswer>; at: number } | undefined
  /** What was wrong at the last look, so that the log has each trouble once, and its end. */
  const known = new Map<string, string>()

  const look = async (): Promise<ReadinessAnswer> => {
    const entries = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => {
        const trouble = await findTrouble(check, timeoutMs)
        tell(name, trouble?.detail)
        return [name, trouble ? { ok: false, reason: trouble.reason } : { ok: true }] as const
      }),
    )
    const isReady = entries.every(([, { ok }]) => ok)
    return { status: isReady ? 'ready' : 'not_ready', checks: Object.fromEntries(entries) }
  }
  const tell = (name: string, detail: string | undefined) => {
    if (detail === known.get(name)) return
    if (detail === undefined) {
      known.delete(name)
      log.info('ready again', { check: name })
    } else {
      if (!known.has(name)) log.warn('not ready', { check: name, error: detail })
      known.set(name, detail)
    }
  }
  return {
    ask() {
      if (!last || now() - last.at >= holdsMs) {
        const asked = { answer: look(), at: Number.POSITIVE_INFINITY }
        last = asked
        // It holds from when it is known; until then all who ask wait for the same.
        void asked.answer.finally(() => {
          asked.at = now()
        })
      }
      return last.answer
    },
  }
}

async function findTrouble(
  check: Check,
  timeoutMs: number,
): Promise<{ reason: string; detail: string } | undefined> {
  const over = new AbortController()
  const late = `it did not answer within ${timeoutMs / 1000} seconds`
  const timer = delay(timeoutMs, undefined, { signal: over.signal }).then(() => {
    throw new NotReady(late)
  })
  const deadline = AbortSignal.timeout(timeoutMs)
  try {
    await Promise.race([Promise.resolve().then(() => check(deadline)), timer])
    return undefined
  } catch (error) {
    if (deadline.aborted) return { reason: late, detail: late }
    const detail = messageOf(error)
    return { reason: error instanceof NotReady ? detail : 'it failed; the log tells more', detail }
  } finally {
    over.abort()
    timer.catch(() => {}) // it has been waited for, or is not needed any more
  }
}

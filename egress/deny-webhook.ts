// Tells the operator of names that were denied (contract: egress.md 7): one POST for each, sent by the host and not by a sandbox, so no
// policy is in its way and none of its own names is denied. A program that asks for the same name again and again is told of once a
// minute. What a receiver does not take is tried again for a while, and then dropped, with a line in the log.

import { createHmac } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { DenyWebhook } from '../lib/config/egress-services.ts'
import { messageOf } from '../lib/errors.ts'
import { Lanes } from '../lib/lanes.ts'
import type { Logger } from '../lib/log.ts'
import { SharedCache } from '../lib/shared-cache.ts'

export type DeniedName = { hostname: string; sandboxId: string; tenant?: string }

export type DenyWebhookOptions = {
  webhook: DenyWebhook
  log: Logger
  signal: AbortSignal
  now?: () => number
  /** Waits before the second attempt and those after it. */
  retryMs?: readonly number[]
  timeoutMs?: number
}

export type DenyWebhookSender = {
  tell(denied: DeniedName): void
  /** What became of it, for who counts. */
  readonly counts: Readonly<WebhookCounts>
}
export type WebhookCounts = { sent: number; dropped: number; failed: number; repeated: number }

type Queued = { body: string; leave: () => void }

/** Of one sandbox as many as are left free. */
const MAX_QUEUED = 1024
/** At once: one receiver that is slow with one does not hold up all others. */
const MAX_SENDING = 4
const SAME_MS = 60_000
const REMEMBERED = { each: 1000, total: 10_000 }
const SOURCE = 'opensandbox-egress'
const COMPLAIN_EVERY_MS = 60_000

export function createDenyWebhook({
  webhook,
  log,
  signal,
  now = Date.now,
  retryMs = [1000, 2000, 4000],
  timeoutMs = 5000,
}: DenyWebhookOptions): DenyWebhookSender {
  const { url, secret } = webhook
  const host = new URL(url).host
  const counts: WebhookCounts = { sent: 0, dropped: 0, failed: 0, repeated: 0 }
  const told = new SharedCache<number>(REMEMBERED)
  const places = new Lanes(MAX_QUEUED)
  /** Of each sandbox; the first is whose turn it is. */
  const queues = new Map<string, Queued[]>()
  let sending = 0
  let complainedAt = Number.NEGATIVE_INFINITY

  return { tell, counts }

  function tell({ hostname, sandboxId, tenant }: DeniedName): void {
    const at = now()
    const key = `${sandboxId} ${hostname}`
    if (at - (told.get(key) ?? Number.NEGATIVE_INFINITY) < SAME_MS) {
      counts.repeated++
      return
    }
    told.set(sandboxId, key, at)
    if (!places.isOpenTo(sandboxId)) {
      counts.dropped++
      complain('the webhook does not keep up: denied names are dropped')
      return
    }
    const timestamp = new Date(at).toISOString().replace(/\.\d+Z$/, 'Z')
    const body = { hostname, timestamp, source: SOURCE, sandboxId, ...(tenant !== undefined && { tenant }) }
    const queue = queues.get(sandboxId) ?? []
    queue.push({ body: JSON.stringify(body), leave: places.take(sandboxId) })
    queues.set(sandboxId, queue)
    if (sending < MAX_SENDING) void send()
  }

  async function send(): Promise<void> {
    sending++
    for (let body = takeNext(); body !== undefined && !signal.aborted; body = takeNext()) {
      const problem = await deliver(body)
      if (problem === undefined) counts.sent++
      else if (!signal.aborted) {
        counts.failed++
        complain(`the webhook did not take a denied name: ${problem}`)
      }
    }
    sending--
  }

  /** One of each sandbox after the other, so that who has many denied does not keep back what others had. */
  function takeNext(): string | undefined {
    for (const [id, queue] of queues) {
      const next = queue.shift()
      queues.delete(id)
      if (queue.length > 0) queues.set(id, queue)
      next?.leave()
      return next?.body
    }
    return undefined
  }

  async function deliver(body: string): Promise<string | undefined> {
    let problem = ''
    for (const wait of [0, ...retryMs]) {
      if (wait > 0) await delay(wait, undefined, { signal }).catch(() => {}) // aborted: seen below
      if (signal.aborted) return 'egress stops'
      try {
        const status = await post(body)
        if (status >= 200 && status < 300) return undefined
        problem = `it answered ${status}`
        // Anything but trouble of its own, or too much at once, will be the same the next time (contract: egress.md 7).
        if (status < 500 && status !== 429 && status !== 408) return problem
      } catch (error) {
        problem = messageOf(error instanceof Error && error.cause ? error.cause : error)
      }
    }
    return problem
  }

  async function post(body: string): Promise<number> {
    const timestamp = Math.floor(now() / 1000)
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        ...(secret !== undefined && { 'X-OpenSandbox-Signature': signatureOf(secret, timestamp, body) }),
      },
      body,
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    })
    // Its text is nobody's, and is not waited for.
    await response.body?.cancel()
    return response.status
  }

  function complain(message: string): void {
    if (now() - complainedAt < COMPLAIN_EVERY_MS) return
    complainedAt = now()
    log.warn(message, { host, failed: counts.failed, dropped: counts.dropped })
  }
}

/** By which a receiver that knows the secret can tell who sent a message and when: `t=SECONDS,v1=HMAC-SHA256 of "SECONDS.BODY"`. */
export function signatureOf(secret: string, timestamp: number, body: string): string {
  const mac = createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')
  return `t=${timestamp},v1=${mac}`
}

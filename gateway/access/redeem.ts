// Using up a link that opens once. Control decides who was first; what the browser is given in its place comes back, and opens as soon
// as the routes feed tells of it.

import { hashKey } from '../../lib/access.ts'
import type { RedeemAnswer, RedeemRequest, Share } from '../../lib/api/routes-feed.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { askControl } from '../ask-control.ts'
import type { RoutesFeed } from '../routing/routes-feed.ts'

export type RedeemOptions = {
  socketPath: string
  routes: Pick<RoutesFeed, 'get' | 'onChange'>
  log: Logger
  timeoutMs?: number
}

/** What opens from now on; `used` when somebody was first, `unreachable` when nobody can tell. */
export type Redeem = (sandboxId: string, share: Share) => Promise<{ secret: string } | 'used' | 'unreachable'>

const TIMEOUT_MS = 5000
const MAX_RUNNING = 64

export function createRedeem({ socketPath, routes, log, timeoutMs = TIMEOUT_MS }: RedeemOptions): Redeem {
  let running = 0
  return async (sandboxId, { id, hash }) => {
    if (running >= MAX_RUNNING) return 'unreachable'
    running++
    const signal = AbortSignal.timeout(timeoutMs)
    try {
      const request: RedeemRequest = { hash }
      const { status, text } = await askControl({
        socketPath,
        method: 'POST',
        path: `/shares/${encodeURIComponent(id)}/redeem`,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(request),
        signal,
      })
      if (status === 404) return 'used'
      if (status !== 200) throw new Error(`Control answers ${status}`)
      const { secret } = JSON.parse(text) as RedeemAnswer
      await untilKnown(routes, { sandboxId, id, hash: hashKey(secret) }, signal)
      return { secret }
    } catch (error) {
      log.warn('a link could not be used up', { sandbox: sandboxId, share: id, error: messageOf(error) })
      return 'unreachable'
    } finally {
      running--
    }
  }
}

type Wanted = { sandboxId: string; id: string; hash: string }

/** Resolves once the routes have what opens, or the signal aborts. */
function untilKnown(
  routes: RedeemOptions['routes'],
  { sandboxId, id, hash }: Wanted,
  signal: AbortSignal,
): Promise<void> {
  const isKnown = () => routes.get(sandboxId)?.shares?.some((share) => share.id === id && share.hash === hash)
  if (isKnown()) return Promise.resolve()
  return new Promise((resolve) => {
    const settle = () => {
      forget()
      signal.removeEventListener('abort', settle)
      resolve()
    }
    const forget = routes.onChange(() => {
      if (isKnown()) settle()
    })
    signal.addEventListener('abort', settle)
  })
}

// Where tenants are kept elsewhere, traffic that comes by a path of the API needs a key of whose the sandbox is. Control knows
// keys, so it is asked, on the socket of the routes feed (lib/api/routes-feed.ts).

import { API_KEY_HEADER } from '../../lib/access.ts'
import { CLIENT_HEADER } from '../../lib/api/routes-feed.ts'
import { messageOf } from '../../lib/errors.ts'
import { Lanes } from '../../lib/lanes.ts'
import type { Logger } from '../../lib/log.ts'
import { sourceOf } from '../../lib/source-of.ts'
import { askControl } from '../ask-control.ts'
import { REFUSED, type Refusal } from '../decision/refusal.ts'

export type KeyCheckOptions = {
  socketPath: string
  log: Logger
  timeoutMs?: number
}

/** Why a request with this key may not reach the sandbox; undefined when it may. */
export type KeyCheck = (id: string, given: GivenKey) => Promise<Refusal | undefined>

/** A key as it was sent, and the address that it came from. */
export type GivenKey = { key: string | undefined; from: string }

/** Of head fields, in lower case. */
export const API_KEY_FIELD = API_KEY_HEADER.toLowerCase()
/** Longer than control waits for whoever keeps the tenants. */
const TIMEOUT_MS = 7000
/** From one source half as many: who guesses keys leaves places to those who do not. */
const MAX_CHECKS = 256

export function createKeyCheck({ socketPath, log, timeoutMs = TIMEOUT_MS }: KeyCheckOptions): KeyCheck {
  const places = new Lanes(MAX_CHECKS)
  return async (id, given) => {
    const source = sourceOf(given.from)
    if (!places.isOpenTo(source)) return REFUSED.busy()
    const leave = places.take(source)
    try {
      return await ask(socketPath, id, given, AbortSignal.timeout(timeoutMs))
    } catch (error) {
      log.debug('cannot ask control whose a sandbox is', { id, error: messageOf(error) })
      return REFUSED.noControl()
    } finally {
      leave()
    }
  }
}

async function ask(
  socketPath: string,
  id: string,
  { key, from }: GivenKey,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  const { status, text } = await askControl({
    socketPath,
    path: `/access/${encodeURIComponent(id)}`,
    headers: { [CLIENT_HEADER]: from, ...(key !== undefined && { [API_KEY_HEADER]: key }) },
    signal,
  })
  if (status === 204) return undefined
  if (status < 400) throw new Error(`Control answers ${status}`)
  const { code, message } = JSON.parse(text) as { code: string; message: string }
  return { status, code, message, ...(status === 503 && { retryAfter: 5 }) }
}

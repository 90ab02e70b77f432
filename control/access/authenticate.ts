// Who may ask: the holder of a key, and without any key nobody but this machine's own programs (contract: lifecycle.md 1.2).

import type { Context, MiddlewareHandler } from 'hono'
import { API_KEY_HEADER, hashKey } from '../../lib/access.ts'
import type { AppEnv } from '../app-deps.ts'
import { refusal } from '../errors.ts'
import { READING } from '../request.ts'
import type { Keyring } from './keyring.ts'
import { LOCAL_PRINCIPAL, SCRAPER } from './principal.ts'
import { requireKey } from './require-key.ts'

const OPEN_PATHS = new Set(['/health', '/ready', '/version', '/docs', '/redoc', '/openapi.json'])
const PROXY_PATH = /^(\/v1)?\/sandboxes\/[^/]+\/proxy\/\d+(\/|$)/

/** Whether a path needs no API key: the public pages, exactly, and the proxy, unless traffic is guarded by keys too. */
export function isOpenPath(path: string, { guardsTraffic }: { guardsTraffic: boolean }): boolean {
  return OPEN_PATHS.has(path) || (!guardsTraffic && PROXY_PATH.test(path) && !path.includes('..'))
}

export type AuthenticateOptions = {
  keyring: Keyring
  /** The address of who asks. */
  clientOf: (context: Context<AppEnv>) => string | undefined
  metricsToken?: string | undefined
}

/**
 * Finds out who asks, and refuses who has no key or only one to read with. `metricsToken` opens the numbers for Prometheus, as a
 * bearer token, and nothing else.
 */
export function authenticate({
  keyring,
  clientOf,
  metricsToken,
}: AuthenticateOptions): MiddlewareHandler<AppEnv> {
  const scraper = metricsToken === undefined ? undefined : hashKey(`Bearer ${metricsToken}`)
  return async (context, next) => {
    if (!keyring.isNeeded) context.set('principal', LOCAL_PRINCIPAL)
    else if (
      scraper !== undefined &&
      context.req.path === '/metrics' &&
      hashKey(context.req.header('authorization') ?? '') === scraper
    )
      context.set('principal', SCRAPER)
    else if (!isOpenPath(context.req.path, keyring)) {
      const principal = await requireKey(keyring, {
        key: context.req.header(API_KEY_HEADER),
        from: clientOf(context),
      })
      context.set('principal', principal)
      if (principal.role === 'read-only' && !READING.has(context.req.method))
        throw refusal('GENERAL::FORBIDDEN', `The key "${principal.name}" may only read`)
    }
    await next()
  }
}

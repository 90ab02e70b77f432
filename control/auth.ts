// Who may ask: one API key, and without one nobody but this machine's own programs (contract: lifecycle.md 1.2, design D12).

import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { API_KEY_HEADER } from '../lib/api/lifecycle.ts'
import { refusal } from './errors.ts'
import { publicHost } from './public-host.ts'

const OPEN_PATHS = new Set(['/health', '/version', '/docs', '/redoc', '/openapi.json'])
const PROXY_PATH = /^(\/v1)?\/sandboxes\/[^/]+\/proxy\/\d+(\/|$)/

/** Whether a path needs no API key: the public pages, exactly, and the proxy, whose sandboxes guard themselves. */
export function isOpenPath(path: string): boolean {
  return OPEN_PATHS.has(path) || (PROXY_PATH.test(path) && !path.includes('..'))
}

/** Refuses requests without the key. Both sides are hashed, so that the comparison takes the same time for every guess. */
export function requireApiKey(apiKey: string | undefined): MiddlewareHandler {
  if (!apiKey) return (_, next) => next()
  const wanted = hash(apiKey)
  return async (context, next) => {
    if (!isOpenPath(context.req.path)) {
      const given = context.req.header(API_KEY_HEADER)
      if (!given)
        throw refusal('MISSING_API_KEY', `The header ${API_KEY_HEADER} is required and must hold the API key`)
      if (!timingSafeEqual(hash(given), wanted))
        throw refusal(
          'INVALID_API_KEY',
          `The header ${API_KEY_HEADER} does not hold the API key of this server`,
        )
    }
    await next()
  }
}

/**
 * Without an API key a web page that somebody happens to visit could command this server through the visitor's browser: by
 * a request from its own origin, or by a name of its own that it points to this machine. So a foreign `Origin` and a `Host`
 * that does not name this machine are refused.
 */
export function requireLocalCaller(ownHosts: string[], trustForwarded: boolean): MiddlewareHandler {
  return async (context, next) => {
    checkLocalCaller(ownHosts, publicHost(context, trustForwarded), context.req.header('origin'))
    await next()
  }
}

/** The check itself, for what does not pass the API's routes. Throws ApiError. */
export function checkLocalCaller(
  ownHosts: string[],
  host: string | undefined,
  origin: string | undefined,
): void {
  if (host !== undefined && !isLocalHost(host, new Set(ownHosts.map((own) => own.toLowerCase()))))
    throw refusal(
      'GENERAL::HOST_NOT_ALLOWED',
      'Without an API key this server answers only as localhost: set one',
    )
  if (origin !== undefined && !isSameOrigin(origin, host))
    throw refusal(
      'GENERAL::ORIGIN_NOT_ALLOWED',
      'Without an API key this server answers no pages of other origins',
    )
}

/** Whether a `Host` value names the loopback interface, or one of the operator's own names. */
export function isLocalHost(host: string, own: ReadonlySet<string> = new Set()): boolean {
  const name = host.trim().toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
  return (
    name === 'localhost' || name === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name) || own.has(name)
  )
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  const match = /^https?:\/\/([^/]+)$/.exec(origin.toLowerCase())
  return match !== null && match[1] === host?.toLowerCase()
}

function hash(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

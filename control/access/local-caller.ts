// Without a key the API answers this machine's own programs, and no web page.

import type { MiddlewareHandler } from 'hono'
import { refusal } from '../errors.ts'
import { publicHost } from '../public-host.ts'

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

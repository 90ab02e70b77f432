// What a request is, in the words of those who judge it, count it and write it down.

import type { Context } from 'hono'
import { matchedRoutes } from 'hono/route'

/** Methods that change nothing. */
export const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

const MAX_LOGGED_PATH = 200
/** What comes after the port is the sandbox's, and may be anybody's secret. */
const PROXIED = /^((?:\/v1)?\/sandboxes\/[^/]+\/proxy\/[^/]+).*$/s

/** A path as it may stand in the log. */
export function loggedPath(path: string): string {
  return path.replace(PROXIED, '$1').slice(0, MAX_LOGGED_PATH)
}

/** The pattern of the route that a request is for; undefined when there is none. */
export function routeOf(context: Context): string | undefined {
  return matchedRoutes(context).findLast(({ path }) => !path.endsWith('*') || path.includes('/proxy/'))?.path
}

// Keeping browsers from being used against the user while no API key guards the API (docs/decisions/no-key-no-browser.md,
// docs/decisions/path-form-navigations.md). A web page anywhere can make its visitor's browser send requests to this port,
// and the pages of sandboxes are served on this very port. Pure.

import { NO_SERVICE_WORKER, SERVICE_WORKER_FIELD } from '../../lib/api/path-form.ts'
import type { SigningKeys } from '../../lib/signature.ts'
import type { RequestHead } from '../http1/head.ts'
import { formatHost, isLoopbackName, nameOf, portSuffixOf } from '../routing/host.ts'
import type { Route } from '../routing/route.ts'

export type AccessSettings = {
  hasApiKey: boolean
  /** Whether traffic by a path of the API needs a key of whose the sandbox is. */
  guardsTraffic: boolean
  /** What signed names of ports are checked with. */
  keys?: SigningKeys | undefined
  /** Whether sandboxes have paths of their own: `/{id}/{port}/`. */
  hasUris?: boolean
  domain: string
  /** Host names beside the loopback ones by which the operator reaches the gateway, in lower case. */
  ownHosts: ReadonlySet<string>
}

export type Access =
  | { action: 'allow' }
  | { action: 'refuse'; code: string; message: string }
  | { action: 'redirect'; location: string }

const ALLOW: Access = { action: 'allow' }
/** Those of which nothing can be had. */
const OPEN_KINDS: ReadonlySet<Route['kind']> = new Set(['health', 'network', 'invalid'])

/** Decides whether a routed request may pass, or where the browser must look instead. */
export function decideAccess(route: Route, head: RequestHead, settings: AccessSettings): Access {
  if (route.kind === 'sandbox') {
    if (route.via === 'host') return ALLOW
    if (route.via === 'path' || route.via === 'uri') {
      const location = decideNavigation(route, head, settings.domain)
      if (location !== undefined) return { action: 'redirect', location }
      // It would stand between the browser and the sandbox for as long as the browser keeps it, whoever has the path by then.
      if (head.fields.some(({ key }) => key === SERVICE_WORKER_FIELD))
        return { action: 'refuse', code: 'GENERAL::FORBIDDEN', message: NO_SERVICE_WORKER }
    }
  }
  if (settings.hasApiKey || OPEN_KINDS.has(route.kind)) return ALLOW
  if (!isLoopbackName(head.host) && !settings.ownHosts.has(nameOf(head.host)))
    return {
      action: 'refuse',
      code: 'GENERAL::HOST_NOT_ALLOWED',
      message: 'Without an API key this server answers only as localhost: set one',
    }
  if (route.kind !== 'control') return ALLOW
  for (const { key, value } of head.fields) {
    if (key !== 'origin' || isOwnOrigin(value, head.host)) continue
    return {
      action: 'refuse',
      code: 'GENERAL::ORIGIN_NOT_ALLOWED',
      message: 'Without an API key this server answers no pages of other origins',
    }
  }
  return ALLOW
}

/**
 * A document of a sandbox opened by its path would have the API's own origin, whoever sent the browser there and by whatever
 * method, so it is opened under the sandbox's own name instead.
 */
function decideNavigation(
  route: Extract<Route, { kind: 'sandbox' }>,
  head: RequestHead,
  domain: string,
): string | undefined {
  if (!isLoopbackName(head.host)) return undefined
  const isNavigation = head.fields.some(
    ({ key, value }) => key === 'sec-fetch-mode' && value.toLowerCase() === 'navigate',
  )
  if (!isNavigation) return undefined
  // Without a scheme it stays what it is.
  return `//${formatHost(route.address, domain)}${portSuffixOf(head.host)}${route.target}`
}

// Same origin means the very host and port that the request names, which was found to be this machine's. `null` is the
// origin of sandboxed frames and local files.
function isOwnOrigin(origin: string, host: string): boolean {
  const match = /^https?:\/\/([^/]+)$/.exec(origin.toLowerCase())
  return match !== null && match[1] === host.toLowerCase()
}

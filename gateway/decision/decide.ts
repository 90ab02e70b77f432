// The decision about one request, in its order: where it leads, who may, and then, for a sandbox, the door. What is answered here
// needs nobody else.

import type { Client } from '../../lib/hops.ts'
import { type AccessSettings, decideAccess } from '../access/access.ts'
import type { RequestHead } from '../http1/head.ts'
import type { Target } from '../relay/upstream.ts'
import { decideRoute, type Route } from '../routing/route.ts'
import type { Door, RouteSource } from './door.ts'
import { planControl } from './plan.ts'
import type { Verdict } from './verdict.ts'

export type DecideOptions = {
  access: AccessSettings
  routeOf: RouteOf
  routes: Pick<RouteSource, 'isCurrent'>
  door: Door
  controlTarget: Target
  /** False once the gateway is about to stop. */
  isReady: () => boolean
}

const HEALTHY: Verdict = {
  kind: 'answer',
  status: 200,
  head: 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nCache-Control: no-store\r\n',
  body: 'OK',
}
/** It goes on, by what it knows. */
const DEGRADED: Verdict = {
  kind: 'answer',
  status: 200,
  head: 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\nCache-Control: no-store\r\n',
  body: 'DEGRADED',
}
/** Whoever balances load shall send no more. */
const DRAINING: Verdict = {
  kind: 'answer',
  status: 503,
  head: 'HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 8\r\nCache-Control: no-store\r\n',
  body: 'draining',
}

export type RouteOf = (head: RequestHead) => Route

/** Where a request leads under these settings, and with the names that sandboxes have by now. */
export function createRouteOf(access: AccessSettings, routes: Pick<RouteSource, 'findDomain'>): RouteOf {
  const findDomain = (name: string) => routes.findDomain(name)
  return (head) => decideRoute(head, access.domain, access.hasUris, findDomain)
}

export function createDecide({ access, routeOf, routes, door, controlTarget, isReady }: DecideOptions) {
  return (head: RequestHead, client: Client): Verdict => {
    const route = routeOf(head)
    if (route.kind === 'invalid')
      return { kind: 'refuse', refusal: { status: 400, code: route.code, message: route.problem } }
    const permission = decideAccess(route, head, access)
    if (permission.action === 'refuse') {
      const { code, message } = permission
      return { kind: 'refuse', refusal: { status: 403, code, message } }
    }
    if (permission.action === 'redirect')
      return {
        kind: 'answer',
        status: 307,
        head: `HTTP/1.1 307 Temporary Redirect\r\nLocation: ${permission.location}\r\nContent-Length: 0\r\nCache-Control: no-store\r\nVary: Sec-Fetch-Mode\r\n`,
      }
    if (route.kind === 'health') return isReady() ? HEALTHY : DRAINING
    // Sandboxes are reached all the same, so it is never a failure (contract: v1.1.md 4).
    if (route.kind === 'network') return routes.isCurrent ? HEALTHY : DEGRADED
    if (route.kind === 'control') return { kind: 'forward', plan: planControl(head, client, controlTarget) }
    return door(route, head, client)
  }
}

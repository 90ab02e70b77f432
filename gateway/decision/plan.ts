// What goes upstream for a request that may pass: to which target, with which head, and what its answer has to be changed by. Pure,
// but that the head loses an upgrade which would make a tunnel past what is checked here.

import { NO_ORIGIN_POLICY } from '../../lib/api/path-form.ts'
import type { Route as FeedRoute, RouteTarget, Share } from '../../lib/api/routes-feed.ts'
import type { Client } from '../../lib/hops.ts'
import type { RequestHead } from '../http1/head.ts'
import { formatInnerHost, formatRequestHead, type InnerLocation } from '../relay/headers.ts'
import type { Target } from '../relay/upstream.ts'
import type { Route } from '../routing/route.ts'

/** Where one request goes and how. */
export type Plan = {
  target: Target
  /** The complete head for the receiver. */
  requestHead: string
  location?: InnerLocation
  /** Lines added to the answer's head. */
  extra: string
  /** The sandbox's port, or 0 for control. */
  port: number
  /** The sandbox whose traffic this is, when control wants to hear of it. */
  trafficOf?: string
  /** The link by which the sandbox is reached: what is under way ends with it. */
  share?: Share
}

export type SandboxRoute = Extract<Route, { kind: 'sandbox' }>

export type SandboxPassage = {
  found: FeedRoute
  to: RouteTarget
  client: Client
  /** Whether the API needs a key, so that browsers need not be kept from it. */
  hasApiKey: boolean
  /** The link by which it is reached. */
  share?: Share | undefined
}

const PATH_SANDBOX_POLICY = `Content-Security-Policy: ${NO_ORIGIN_POLICY}\r\n`

/** A request for control, which is at `target`. */
export function planControl(head: RequestHead, client: Client, target: Target): Plan {
  // Control speaks one protocol beside HTTP/1.1; others would make a tunnel past what is checked here.
  if (head.upgrade !== undefined && head.upgrade.toLowerCase() !== 'websocket') head.upgrade = undefined
  const requestHead = formatRequestHead(head, {
    to: 'control',
    target: head.target,
    host: head.host,
    prefix: '',
    client,
    dropCredentials: false,
  })
  return { target, requestHead, extra: '', port: 0 }
}

/** A request for a sandbox, which `found` says can be reached at `to`. */
export function planSandbox(
  { via, target, prefix, address }: SandboxRoute,
  head: RequestHead,
  { found, to, client, hasApiKey, share }: SandboxPassage,
): Plan {
  const { id, generation } = found
  // By a path all sandboxes have one origin, and one cookie jar.
  const sharesOrigin = via === 'path' || via === 'uri'
  const counts = found.countsTraffic === true && !asksNotToRenew(head)
  // An upgrade to HTTP/2 would be a tunnel in which nothing is checked any more.
  if (head.upgrade?.toLowerCase().includes('h2c')) head.upgrade = undefined
  const isTcp = 'host' in to
  const inner = isTcp ? formatInnerHost(to.host, { id, port: to.port }) : 'localhost'
  const requestHead = formatRequestHead(head, {
    to: 'sandbox',
    target: isTcp ? target : `${to.pathPrefix}${target}`,
    // Under its own name a sandbox is told the name that the browser knows, or its links and its checks of `Origin` would
    // be wrong; by header and by path it is told its own address (docs/decisions/host-header.md).
    host: via === 'host' ? head.host : inner,
    prefix,
    client,
    dropCredentials: sharesOrigin,
  })
  const isH2c = isTcp && client.isHttp2 === true && isGrpc(head)
  return {
    target: {
      key: `${keyPrefix(id, generation)}${isTcp ? `${to.host} ${to.port}` : to.socketPath}${isH2c ? ' h2c' : ''}`,
      group: id,
      connect: isTcp ? { host: to.host, port: to.port } : { path: to.socketPath },
      ...(isH2c && { isH2c }),
    },
    requestHead,
    ...(via !== 'host' && {
      location: { inner, outer: client.forwardedHost ?? head.host, prefix, isEncrypted: client.isEncrypted },
    }),
    // The second lock beside the redirect of navigations, for browsers that do not say what they do.
    extra: sharesOrigin && !hasApiKey ? PATH_SANDBOX_POLICY : '',
    port: address.port,
    ...(counts && { trafficOf: id }),
    ...(share && { share }),
  }
}

/** gRPC is HTTP/2 all the way, so who asks for it by HTTP/2 is led on by HTTP/2. */
function isGrpc({ fields }: RequestHead): boolean {
  return fields.some(
    ({ key, value }) => key === 'content-type' && /^application\/grpc(?:$|[+;])/i.test(value),
  )
}

/** What the keys of all connections to one life of a sandbox begin with. */
export function keyPrefix(id: string, generation: number): string {
  return `${id} ${generation} `
}

/** The field by which a request says that it is no use of the sandbox (contract: v1.1.md 1.5). */
export function asksNotToRenew({ fields }: RequestHead): boolean {
  return fields.some(({ key, value }) => key === 'opensandbox-access-renew' && value === 'skip')
}

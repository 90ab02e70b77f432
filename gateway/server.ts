// The gateway: takes connections, decides each request (where it leads, whether it may, whether the sandbox can answer) and
// hands it on. Everything it needs is handed in. One coarse clock ends what takes too long, so that no request needs a timer.

import { createServer, isIP, type Server, type Socket } from 'node:net'
import type { Route as FeedRoute, RouteTarget } from '../lib/api/routes-feed.ts'
import { createRequestId } from '../lib/id.ts'
import type { Logger } from '../lib/log.ts'
import { type AccessSettings, decideAccess } from './access.ts'
import type { ActivityLog } from './activity.ts'
import { ClientConnection, type ConnectionContext, type Verdict } from './connection.ts'
import type { RequestHead } from './http1/head.ts'
import { API_KEY_FIELD, type KeyCheck } from './key-check.ts'
import { keyPrefix, planControl, planSandbox, type SandboxRoute } from './plan.ts'
import { STREAM_BUFFER_BYTES, type Target, UpstreamPool } from './pool.ts'
import { REFUSED } from './refusal.ts'
import { createRequestLog } from './request-log.ts'
import { decideRoute } from './route.ts'
import type { Lookup, RouteListener } from './routes-feed.ts'

/** Where sandboxes are: see routes-feed.ts. */
export type RouteSource = {
  get(id: string): FeedRoute | undefined
  find(id: string): Promise<Lookup>
  onChange(listener: RouteListener): () => void
}

export type GatewayOptions = {
  access: AccessSettings
  controlSocket: string
  /** Asked where traffic needs a key. */
  checkKey: KeyCheck
  routes: RouteSource
  log: Logger
  /** Whether every request is logged, not only those that failed by a fault of ours or of a sandbox. */
  logsRequests?: () => boolean
  /** Where traffic is noted of the sandboxes that control wants to hear of. */
  activity?: Pick<ActivityLog, 'touch' | 'forget'>
  pool?: UpstreamPool
  /** How long a request waits for a sandbox that is starting. */
  holdMs?: number
  maxHeld?: number
  maxConnections?: number
  sweepMs?: number
}

export type Gateway = {
  server: Server
  /** Resolves with the port in use. */
  listen(address: { host: string; port: number }): Promise<number>
  /** Takes no more connections, lets what runs end for `drainMs`, cuts the rest. */
  close(drainMs: number): Promise<void>
}

/** How often it is looked which streams and WebSockets have carried something. */
const COLLECT_MS = 1000

export function createGateway(options: GatewayOptions): Gateway {
  const { access, controlSocket, routes, log, logsRequests = () => false } = options
  const { activity, pool = new UpstreamPool(), holdMs = 10_000, maxHeld = 1024, sweepMs = 250 } = options
  const connections = new Set<ClientConnection>()
  const controlTarget: Target = { key: 'control', group: '', connect: { path: controlSocket } }
  let held = 0
  let now = performance.now()
  let isStopping = false

  const context: ConnectionContext = {
    get now() {
      return now
    },
    get isStopping() {
      return isStopping
    },
    pool,
    decide,
    report: createRequestLog(log, logsRequests),
    createRequestId,
    onClosed: (connection) => void connections.delete(connection),
  }

  function decide(head: RequestHead, clientAddress: string): Verdict {
    const route = decideRoute(head, access.domain)
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
    if (route.kind === 'health')
      return {
        kind: 'answer',
        status: 200,
        head: `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nCache-Control: no-store\r\n`,
        body: 'OK',
      }
    if (route.kind === 'control')
      return { kind: 'forward', plan: planControl(head, clientAddress, controlTarget) }
    if (route.via === 'path' && access.guardsTraffic) return guard(route, head, clientAddress)
    return lead(route, head, clientAddress)
  }

  /** To the sandbox, once control has said that it is the caller's. */
  function guard(route: SandboxRoute, head: RequestHead, clientAddress: string): Verdict {
    const key = head.fields.find((field) => field.key === API_KEY_FIELD)?.value
    const verdict = options
      .checkKey(route.address.id, key)
      .then((refusal): Verdict => (refusal ? { kind: 'refuse', refusal } : lead(route, head, clientAddress)))
    return { kind: 'wait', verdict, cancel: () => {} }
  }

  function lead(route: SandboxRoute, head: RequestHead, clientAddress: string): Verdict {
    const found = routes.get(route.address.id)
    if (!found) return ask(route, head, clientAddress)
    return decideSandbox(route, head, clientAddress, found) ?? hold(route, head, clientAddress)
  }

  /** What a known sandbox's state means; undefined when it is worth waiting. */
  function decideSandbox(
    route: SandboxRoute,
    head: RequestHead,
    clientAddress: string,
    found: FeedRoute,
  ): Verdict | undefined {
    const { port } = route.address
    const special = found.ports?.[String(port)]
    const forward = (to: RouteTarget): Verdict => {
      const { hasApiKey } = access
      const plan = planSandbox(route, head, { found, to, clientAddress, hasApiKey })
      if (plan.trafficOf !== undefined) activity?.touch(plan.trafficOf, now)
      return { kind: 'forward', plan }
    }
    if (special) return forward(special)
    switch (found.state) {
      case 'running': {
        if (found.address === undefined) return undefined
        // A name would be looked up, and could lead anywhere.
        if (isIP(found.address) === 0) return { kind: 'refuse', refusal: REFUSED.unreachable() }
        return forward({ host: found.address, port })
      }
      case 'pending':
        return undefined
      case 'paused':
        return { kind: 'refuse', refusal: REFUSED.paused() }
      default:
        return { kind: 'refuse', refusal: REFUSED.ended(found.state) }
    }
  }

  /** For an id that was never seen: control is asked, once for all who wait. */
  function ask(route: SandboxRoute, head: RequestHead, clientAddress: string): Verdict {
    let cancel = () => {}
    const verdict = routes.find(route.address.id).then((found): Verdict | Promise<Verdict> => {
      if (found === 'unknown') return { kind: 'refuse', refusal: REFUSED.unknown() }
      if (found === 'unreachable') return { kind: 'refuse', refusal: REFUSED.noControl() }
      const decided = decideSandbox(route, head, clientAddress, found)
      if (decided) return decided
      const waiting = hold(route, head, clientAddress)
      if (waiting.kind !== 'wait') return waiting
      cancel = waiting.cancel
      return waiting.verdict
    })
    return { kind: 'wait', verdict, cancel: () => cancel() }
  }

  /** A request for a sandbox that is starting waits for it, so that clients need not try again. */
  function hold(route: SandboxRoute, head: RequestHead, clientAddress: string): Verdict {
    if (held >= maxHeld || isStopping) return { kind: 'refuse', refusal: REFUSED.starting() }
    held++
    let finish: (verdict: Verdict) => void = () => {}
    const verdict = new Promise<Verdict>((resolve) => {
      finish = resolve
    })
    let isOver = false
    const end = (decided: Verdict) => {
      if (isOver) return
      isOver = true
      held--
      clearTimeout(timer)
      forget()
      finish(decided)
    }
    const refused: Verdict = { kind: 'refuse', refusal: REFUSED.starting() }
    const timer = setTimeout(() => end(refused), holdMs)
    const forget = routes.onChange((id, changed) => {
      if (id !== route.address.id) return
      if (!changed) return end({ kind: 'refuse', refusal: REFUSED.unknown() })
      const decided = decideSandbox(route, head, clientAddress, changed)
      if (decided) end(decided)
    })
    return { kind: 'wait', verdict, cancel: () => end(refused) }
  }

  const stopFollowing = routes.onChange((id, route) => {
    if (!route?.countsTraffic) activity?.forget(id)
    if (!route || route.state === 'terminated' || route.state === 'failed') pool.cut(id)
    else pool.cut(id, keyPrefix(id, route.generation))
  })
  const server = createServer(
    {
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
      allowHalfOpen: true,
      highWaterMark: STREAM_BUFFER_BYTES,
    },
    (socket: Socket) => connections.add(new ClientConnection(socket, context)),
  )
  server.maxConnections = options.maxConnections ?? 16_384
  let collectedAt = now
  const collectTraffic = () => {
    collectedAt = now
    for (const connection of connections) {
      const id = connection.takeTraffic()
      if (id !== undefined && routes.get(id)?.countsTraffic) activity?.touch(id, now)
    }
  }
  const sweep = setInterval(() => {
    now = performance.now()
    if (activity && now - collectedAt >= COLLECT_MS) collectTraffic()
    for (const connection of connections)
      if (connection.deadline !== 0 && connection.deadline < now) connection.expire()
    pool.sweep(now)
  }, sweepMs)

  return {
    server,
    listen: ({ host, port }) =>
      new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host, port, backlog: 1024 }, () => {
          server.off('error', reject)
          server.on('error', (error) => log.error('cannot take a connection', { error }))
          const address = server.address()
          resolve(typeof address === 'object' && address ? address.port : port)
        })
      }),
    close: async (drainMs) => {
      isStopping = true
      now = performance.now()
      collectTraffic()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const connection of connections) connection.stop()
      const timer = setTimeout(() => {
        for (const connection of connections) connection.socket.destroy()
      }, drainMs)
      await closed
      clearTimeout(timer)
      clearInterval(sweep)
      stopFollowing()
      pool.close()
    },
  }
}

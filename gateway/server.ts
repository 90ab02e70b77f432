// The gateway: takes connections, hands their requests to what decides them (decide.ts), and ends both. Everything it needs is
// handed in. One coarse clock ends what takes too long, so that no request needs a timer.

import { createServer, type Server } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type GatewayConnections,
  type GatewayFigures,
  MAX_CONNECTIONS_TOLD,
} from '../lib/api/gateway-admin.ts'
import type { FrontLimits } from '../lib/config/front.ts'
import { type AddressRanges, type Origin, parseRanges, readClient } from '../lib/hops.ts'
import { createRequestId } from '../lib/id.ts'
import type { Logger } from '../lib/log.ts'
import type { AccessSettings } from './access/access.ts'
import { Guesses } from './access/guesses.ts'
import type { KeyCheck } from './access/key-check.ts'
import type { Redeem } from './access/redeem.ts'
import { createDecide, createRouteOf } from './decision/decide.ts'
import { createDoor, type RouteSource } from './decision/door.ts'
import { keyPrefix } from './decision/plan.ts'
import type { ClientSocket, ConnectionContext, SharedBy } from './decision/verdict.ts'
import type { Certificates } from './front/certificates.ts'
import { Front } from './front/front.ts'
import { Http2Sessions } from './front/http2-sessions.ts'
import type { TrafficLog } from './life/activity.ts'
import type { Waker } from './life/wake.ts'
import type { AccessLog } from './observe/access-log.ts'
import { createCrowdLog } from './observe/crowd-log.ts'
import { createRequestLog } from './observe/request-log.ts'
import { Tally } from './observe/tally.ts'
import { ClientConnection } from './relay/connection.ts'
import { UpstreamPool } from './relay/pool.ts'
import { STREAM_BUFFER_BYTES } from './relay/upstream.ts'

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
  activity?: TrafficLog
  pool?: UpstreamPool
  /** Where every request is written down. */
  accessLog?: Pick<AccessLog, 'report'>
  wake?: Waker
  redeem?: Redeem
  /** How long a request waits for a sandbox that is starting or waking. */
  holdMs?: number
  /** How long a browser waits for one before it is shown that it waits. */
  pageMs?: number
  /** Milliseconds since 1970. */
  wallNow?: () => number
  maxHeld?: number
  front?: Partial<FrontOptions>
  sweepMs?: number
}

/** What stands before the gateway, and what it takes of each. */
export type FrontOptions = {
  trustedProxies: AddressRanges
  proxyProtocol: AddressRanges
  limits: FrontLimits
  certificates: Certificates
}

const NOBODY = parseRanges([])
export const LIMITS: FrontLimits = {
  connections: 16_384,
  connectionsPerClient: 1024,
  connectionsPerSandbox: 1024,
  headTimeoutMs: 10_000,
  // Longer than the SDKs keep theirs (95 s), so that the client is the one to close (contract: clients.md).
  idleTimeoutMs: 100_000,
}

export type ListenAddress = {
  host: string
  port: number
  /** TLS is spoken there. */
  isSecure?: boolean
  /** Other gateways listen there, too. */
  isShared?: boolean
}

export type Gateway = {
  server: Server
  /** Resolves with the port in use. */
  listen(address: ListenAddress): Promise<number>
  /** What was counted, and what there is. */
  figures(): GatewayFigures
  /** What is under way to sandboxes. */
  connections(): GatewayConnections
  /** Serves on for `noticeMs` while it says that it is not ready, then takes no more connections, lets what runs end for `drainMs`, and cuts the rest. */
  close(drainMs: number, noticeMs?: number): Promise<void>
}

/** How often it is looked which streams and WebSockets have carried something. */
const COLLECT_MS = 1000

const SERVER_OPTIONS = {
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
  allowHalfOpen: true,
  highWaterMark: STREAM_BUFFER_BYTES,
}

export function createGateway(options: GatewayOptions): Gateway {
  const { access, controlSocket, routes, log, logsRequests = () => false } = options
  const {
    trustedProxies = NOBODY,
    proxyProtocol = NOBODY,
    limits = LIMITS,
    certificates,
  } = options.front ?? {}
  const { activity, sweepMs = 250 } = options
  const { pool = new UpstreamPool({ perGroup: limits.connectionsPerSandbox }) } = options
  const { wake, redeem, holdMs = 10_000, pageMs = 1500, maxHeld = 1024, wallNow = Date.now } = options
  const connections = new Set<ClientConnection>()
  const tally = new Tally()
  const logRequest = createRequestLog(log, logsRequests)
  let now = performance.now()
  let isReady = true
  let isStopping = false

  const door = createDoor({
    access,
    checkKey: options.checkKey,
    routes,
    ...(activity && { activity }),
    ...(wake && {
      wake: async (id) => {
        const refusal = await wake(id)
        tally.woke(refusal ? 'failed' : 'woken')
        return refusal
      },
    }),
    onGuess: () => tally.guessed(),
    ...(redeem && { redeem }),
    guesses: new Guesses(),
    holdMs,
    pageMs,
    maxHeld,
    now: () => now,
    wallNow,
    isStopping: () => isStopping,
  })
  const routeOf = createRouteOf(access, routes)
  const decide = createDecide({
    access,
    routeOf,
    routes,
    door,
    controlTarget: { key: 'control', group: '', connect: { path: controlSocket } },
    isReady: () => isReady,
  })

  const context: ConnectionContext = {
    get now() {
      return now
    },
    get isStopping() {
      return isStopping
    },
    pool,
    headTimeoutMs: limits.headTimeoutMs,
    idleTimeoutMs: limits.idleTimeoutMs,
    decide,
    readClient: (head, origin) => readClient(origin, head.fields, trustedProxies),
    serveHttp2: (socket, origin) => sessions.accept(socket, origin),
    report(outcome) {
      tally.count(outcome)
      logRequest(outcome)
      options.accessLog?.report(outcome, routeOf)
    },
    createRequestId,
    onClosed: (connection) => void connections.delete(connection),
  }

  /** Whether a link still opens what is under way by it; one that opens once is known by another hash since. */
  const holds = ({ sandboxId, share }: SharedBy) =>
    share.until > wallNow() && routes.get(sandboxId)?.shares?.some(({ id }) => id === share.id) === true

  const stopFollowing = routes.onChange((id, route) => {
    if (!route?.countsTraffic) activity?.forget(id)
    if (!route || route.state === 'terminated' || route.state === 'failed') pool.cut(id)
    else pool.cut(id, keyPrefix(id, route.generation))
  })
  const serve = (socket: ClientSocket, origin: Origin) => {
    connections.add(new ClientConnection(socket, origin, context))
  }
  const sessions = new Http2Sessions({
    idleTimeoutMs: limits.idleTimeoutMs,
    highWaterMark: STREAM_BUFFER_BYTES,
    takePlace: (origin) => front.takePlace(origin),
    serve,
  })
  const front: Front = new Front({
    trustedProxies,
    proxyProtocol,
    maxConnections: limits.connections,
    maxPerClient: limits.connectionsPerClient,
    helloTimeoutMs: limits.headTimeoutMs,
    ...(certificates && { certificates }),
    log,
    onCrowd: createCrowdLog({ log, tally, now: () => performance.now() }),
    serveHttp1: serve,
    serveHttp2: (socket, origin) => sessions.accept(socket, origin),
  })
  const [server, secureServer] = [false, true].map((isTls) =>
    createServer(SERVER_OPTIONS, (socket) => front.accept(socket, isTls)),
  ) as [Server, Server]
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
    for (const connection of connections) {
      if (connection.deadline !== 0 && connection.deadline < now) connection.expire()
      if (connection.sharedBy && !holds(connection.sharedBy)) connection.socket.destroy()
    }
    pool.sweep(now)
  }, sweepMs)

  return {
    server,
    listen: ({ host, port, isSecure = false, isShared = false }) =>
      new Promise((resolve, reject) => {
        const listener = isSecure ? secureServer : server
        listener.once('error', reject)
        listener.listen({ host, port, backlog: 1024, reusePort: isShared }, () => {
          listener.off('error', reject)
          listener.on('error', (error) => log.error('cannot take a connection', { error }))
          const address = listener.address()
          resolve(typeof address === 'object' && address ? address.port : port)
        })
      }),
    figures() {
      const counts = { idle: 0, request: 0, stream: 0 }
      for (const { activity: state } of connections) counts[state]++
      return { families: tally.families({ connections: counts, routes: routes.size }) }
    },
    connections() {
      const live = [...connections].flatMap((connection) => connection.describe() ?? [])
      return {
        connections: live.slice(0, MAX_CONNECTIONS_TOLD),
        leftOut: Math.max(0, live.length - MAX_CONNECTIONS_TOLD),
      }
    },
    close: async (drainMs, noticeMs = 0) => {
      isReady = false
      if (noticeMs > 0) await delay(noticeMs)
      isStopping = true
      now = performance.now()
      collectTraffic()
      const closed = Promise.all([server, secureServer].map(endListening))
      front.stop()
      sessions.stop()
      for (const connection of connections) connection.stop()
      const timer = setTimeout(() => {
        for (const connection of connections) connection.socket.destroy()
        sessions.cut()
      }, drainMs)
      await closed
      clearTimeout(timer)
      clearInterval(sweep)
      stopFollowing()
      pool.close()
    },
  }
}

/** Takes no more connections, and resolves when there are none. */
function endListening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (server.listening) server.close(() => resolve())
    else resolve()
  })
}

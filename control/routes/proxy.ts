// Sandbox traffic through the API server itself, for when no gateway stands before it (contract: lifecycle.md 4.4, v1.1.md
// 1.5). The gateway has the fast way; this one is for parity. It works on Node's own request and response, because what
// passes through must arrive as it was sent: raw path, raw query, every header line.

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'
import { hashKey, isSameHash, SECURE_ACCESS_HEADER } from '../../lib/access.ts'
import { NO_ORIGIN_POLICY, NO_SERVICE_WORKER, SERVICE_WORKER_FIELD } from '../../lib/api/path-form.ts'
import type { Route, RouteTarget } from '../../lib/api/routes-feed.ts'
import { ApiError, messageOf, systemCodeOf } from '../../lib/errors.ts'
import { type AddressRanges, parseRanges } from '../../lib/hops.ts'
import type { Logger } from '../../lib/log.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { notFound, refusal } from '../errors.ts'
import type { RoutesFeed } from '../routes-feed.ts'
import { parsePort } from './endpoints.ts'
import { clientBehind, findMistakable } from './proxy-fields.ts'
import { ProxySockets } from './proxy-sockets.ts'
import type { ProxyTraffic } from './proxy-traffic.ts'
import { type Relay, relayRequest, relayUpgrade } from './relay.ts'
import { visibleSandbox } from './visible.ts'

export type SandboxProxy = {
  forward: (incoming: IncomingMessage, outgoing: ServerResponse) => void
  /** Takes the server's WebSocket upgrades. */
  attach: (server: Server) => void
}

const PROXY_URL = /^((?:\/v1)?\/sandboxes\/([^/?#]+)\/proxy\/([^/?#]+))(\/[^?#]*)?(\?[^#]*)?/

/** Others, such as those of WebDAV, pass as well. */
const ALLOWED = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'

export function proxyRoutes({
  proxy,
  lives,
  access,
}: Pick<AppDeps, 'proxy' | 'lives' | 'access'>): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  for (const path of ['/sandboxes/:id/proxy/:port', '/sandboxes/:id/proxy/:port/*']) {
    routes.all(path, (context) => {
      if (access.keyring.guardsTraffic) visibleSandbox(context, lives)
      const env = context.env as { incoming?: IncomingMessage; outgoing?: ServerResponse } | undefined
      if (!proxy || !env?.incoming || !env.outgoing)
        throw refusal('GENERAL::NOT_FOUND', 'This server carries no sandbox traffic: the gateway does')
      // Routes know a path whose dots are resolved, and what passes goes where the path leads as it was sent.
      if (sandboxIdOf(env.incoming.url) !== context.req.param('id'))
        throw refusal('GENERAL::NOT_FOUND', 'There is no such route')
      // It asks to be shown what arrived, credentials of whoever asks included.
      if (context.req.method === 'TRACE')
        throw refusal('GENERAL::METHOD_NOT_ALLOWED', `This route allows ${ALLOWED}`, {
          headers: { Allow: ALLOWED },
        })
      env.outgoing.setHeader('X-Request-ID', context.get('requestId'))
      proxy.forward(env.incoming, env.outgoing)
      return RESPONSE_ALREADY_SENT
    })
  }
  return routes
}

/** The sandbox that a URL of the proxy is about; empty when it is none. */
export function sandboxIdOf(url: string | undefined): string {
  return PROXY_URL.exec(url ?? '')?.[2] ?? ''
}

export type ProxyTarget = { id: string; target: RouteTarget; path: string; prefix: string }

/** Where a request for a sandbox's port goes. Throws what the client is answered. */
export function resolveTarget(feed: Pick<RoutesFeed, 'get'>, url: string): ProxyTarget {
  const match = PROXY_URL.exec(url)
  if (!match) throw refusal('GENERAL::NOT_FOUND', 'There is no such route')
  const [, prefix = '', id = '', portText = '', rest = '/', query = ''] = match
  const port = parsePort(portText)
  const route = feed.get(id)
  if (!route) throw notFound()
  const special = route.ports?.[String(port)]
  if (special) {
    const pathPrefix = 'pathPrefix' in special ? special.pathPrefix : ''
    return { id, target: special, path: `${pathPrefix}${rest}${query}`, prefix }
  }
  if (route.state !== 'running' || route.address === undefined)
    throw refusal('DOCKER::SANDBOX_NOT_RUNNING', `The sandbox is ${route.state}`, {
      status: route.state === 'pending' ? 503 : 409,
    })
  return { id, target: { host: route.address, port }, path: `${rest}${query}`, prefix }
}

export function createSandboxProxy({
  feed,
  log,
  guard,
  isOpen = () => false,
  traffic,
  trusted = parseRanges([]),
}: {
  feed: Pick<RoutesFeed, 'get' | 'onChange'>
  log: Logger
  /** Is told of what passes. */
  traffic?: Pick<ProxyTraffic, 'follow' | 'leave'>
  /**
   * Throws ApiError for a WebSocket that may not pass. Other requests have come through the API's own checks.
   */
  guard?: (incoming: IncomingMessage) => void | Promise<void>
  /** Whether the API asks for no key. */
  isOpen?: () => boolean
  /** Who is believed what it says of the client. */
  trusted?: AddressRanges
}): SandboxProxy {
  const sockets = new ProxySockets(feed)
  const prepare = (incoming: IncomingMessage, refuse: (error: unknown) => void): Relay => {
    const { id, target, path, prefix } = resolveTarget(feed, incoming.url ?? '/')
    if (incoming.headers[SERVICE_WORKER_FIELD] !== undefined)
      throw refusal('GENERAL::FORBIDDEN', NO_SERVICE_WORKER)
    const mistakable = findMistakable(incoming.rawHeaders)
    if (mistakable !== undefined)
      throw refusal(
        'GENERAL::BAD_REQUEST',
        `The field "${mistakable}" could be taken for another with hyphens: leave it out`,
      )
    const route = feed.get(id)
    requireAccess(route, incoming)
    if (incoming.headers['opensandbox-access-renew'] !== 'skip') traffic?.follow(id, incoming.socket)
    const address = incoming.socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '') ?? ''
    const client = clientBehind(address, incoming.rawHeaders, trusted)
    const outer = client.forwardedHost ?? incoming.headers.host ?? ''
    const passage = { inner: innerHostOf(target), outer, prefix, client }
    // A document of a sandbox must not have the origin of an API that asks for no key.
    const extra = isOpen() ? ['Content-Security-Policy', NO_ORIGIN_POLICY] : []
    const onSocket = (socket: Socket) => {
      // What egress answers is not the sandbox's.
      if (route && 'host' in target) sockets.follow(socket, route)
    }
    return { incoming, target, path, passage, extra, onSocket, refuse }
  }

  return {
    forward(incoming, outgoing) {
      outgoing.once('close', () => traffic?.leave(incoming.socket))
      const refuse = (error: unknown) => {
        if (!(error instanceof ApiError)) log.debug('sandbox did not answer', { error: messageOf(error) })
        writeRefusal(outgoing, error instanceof ApiError ? error : refusalOfForward(error))
      }
      try {
        relayRequest(prepare(incoming, refuse), outgoing)
      } catch (error) {
        refuse(error)
      }
    },
    attach(httpServer) {
      // The sandbox says whether it wants the body. Who has not sent it may send something else, so nothing comes after it.
      httpServer.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
        if (sandboxIdOf(incoming.url) === '') outgoing.writeContinue()
        else outgoing.shouldKeepAlive = false
        httpServer.emit('request', incoming, outgoing)
      })
      httpServer.on('upgrade', (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
        socket.on('error', () => socket.destroy())
        socket.once('close', () => traffic?.leave(incoming.socket))
        const refuse = (error: unknown) => {
          if (!(error instanceof ApiError))
            log.debug('sandbox did not take a WebSocket', { error: messageOf(error) })
          writeRefusalToSocket(socket, error instanceof ApiError ? error : refusalOfForward(error))
        }
        const pass = async () => {
          await guard?.(incoming)
          relayUpgrade(prepare(incoming, refuse), readUpgrade(incoming), socket, head)
        }
        pass().catch(refuse)
      })
    },
  }
}

/** An upgrade to HTTP/2 would be a tunnel in which nothing is checked any more: it is not asked for. */
function readUpgrade({ headers }: IncomingMessage): string {
  const { upgrade = '' } = headers
  if (!upgrade.toLowerCase().includes('h2c')) return upgrade
  if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) return ''
  throw refusal(
    'GENERAL::BAD_REQUEST',
    'A request with a body cannot ask for HTTP/2: leave out the field Upgrade',
  )
}

/** The `Host` under which what is behind a target knows itself. */
function innerHostOf(target: RouteTarget): string {
  if ('socketPath' in target) return 'localhost'
  return target.host.includes(':') ? `[${target.host}]:${target.port}` : `${target.host}:${target.port}`
}

/** As the gateway does for tokens; signed names and links are the gateway's alone (contract: v1.1.md 1.5). */
function requireAccess(route: Route | undefined, { headers }: IncomingMessage): void {
  if (route?.accessHash === undefined) return
  const [given] = [headers[SECURE_ACCESS_HEADER.toLowerCase()]].flat()
  if (given === undefined || !isSameHash(hashKey(given.trim()), route.accessHash))
    throw refusal('MISSING_OR_INVALID_SECURE_ACCESS', `The field ${SECURE_ACCESS_HEADER} is missing or wrong`)
}

function refusalOfForward(error: unknown): ApiError {
  const code = systemCodeOf(error)
  if (code === 'ETIMEDOUT' || code === 'ESOCKETTIMEDOUT')
    return refusal('BACKEND_TIMEOUT', 'The sandbox did not answer in time', { cause: error })
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'EPROTO' || code?.startsWith('HPE_'))
    return refusal('BACKEND_RESPONSE_FAILED', 'The sandbox broke off its answer', { cause: error })
  return refusal('BACKEND_CONNECTION_FAILED', 'Nothing in the sandbox answers on this port', { cause: error })
}

function writeRefusal(outgoing: ServerResponse, error: ApiError): void {
  // What has begun can only be broken off, so that nobody takes half for all.
  if (outgoing.headersSent) outgoing.destroy()
  else {
    const body = JSON.stringify(error.body())
    outgoing.writeHead(error.status, {
      ...error.headers,
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
    })
    outgoing.end(body)
  }
}

function writeRefusalToSocket(socket: Socket, error: ApiError): void {
  if (!socket.writable) return
  const body = JSON.stringify(error.body())
  const headers = Object.entries(error.headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(
    `HTTP/1.1 ${error.status} Refused\r\n${headers.join('')}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}

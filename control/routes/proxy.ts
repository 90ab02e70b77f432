// Sandbox traffic through the API server itself, for when no gateway stands before it (contract: lifecycle.md 4.4, v1.1.md
// 1.5). The gateway has the fast way; this one is for parity. It works on Node's own request and response, because what
// passes through must arrive as it was sent: raw path, raw query, every header line.

import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'
import { createProxyServer } from 'http-proxy-3'
import { API_KEY_HEADER, hashKey, isSameHash, SECURE_ACCESS_HEADER } from '../../lib/access.ts'
import {
  confineField,
  NO_ORIGIN_POLICY,
  NO_SERVICE_WORKER,
  SERVICE_WORKER_FIELD,
} from '../../lib/api/path-form.ts'
import type { Route, RouteTarget } from '../../lib/api/routes-feed.ts'
import { ApiError, messageOf, systemCodeOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { SHARE_HEADER } from '../../lib/share-link.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { notFound, refusal } from '../errors.ts'
import type { RoutesFeed } from '../routes-feed.ts'
import { parsePort } from './endpoints.ts'
import type { ProxyTraffic } from './proxy-traffic.ts'
import { visibleSandbox } from './visible.ts'

export type SandboxProxy = {
  forward: (incoming: IncomingMessage, outgoing: ServerResponse) => void
  /** Takes the server's WebSocket upgrades. */
  attach: (server: Server) => void
}

const PROXY_URL = /^((?:\/v1)?\/sandboxes\/([^/?#]+)\/proxy\/([^/?#]+))(\/[^?#]*)?(\?[^#]*)?/
const CONNECT_TIMEOUT_MS = 10_000
const SILENCE_TIMEOUT_MS = 180_000
/**
 * Ours, not the sandbox's: the API key, and what a client says about how it came here. And credentials, as all sandboxes
 * have one origin here, and one cookie jar (contract: lifecycle.md 4.4).
 */
const DROPPED = [
  API_KEY_HEADER.toLowerCase(),
  'authorization',
  'cookie',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-port',
  'x-real-ip',
  'opensandbox-access-renew',
  SECURE_ACCESS_HEADER.toLowerCase(),
  SHARE_HEADER.toLowerCase(),
]

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
  traffic,
}: {
  feed: Pick<RoutesFeed, 'get'>
  log: Logger
  /** Is told of what passes. */
  traffic?: Pick<ProxyTraffic, 'follow' | 'leave'>
  /**
   * Throws ApiError for a WebSocket that may not pass. Other requests have come through the API's own checks.
   */
  guard?: (incoming: IncomingMessage) => void | Promise<void>
}): SandboxProxy {
  const server = createProxyServer({
    xfwd: true,
    changeOrigin: false,
    connectTimeout: CONNECT_TIMEOUT_MS,
    proxyTimeout: SILENCE_TIMEOUT_MS,
  })
  const prefixes = new WeakMap<IncomingMessage, string>()
  // Errors are answered where the request is known; without a listener they would end the process.
  server.on('error', () => {})
  server.on('proxyRes', (answer, incoming) => {
    // A document of a sandbox must not have the origin of an API that asks for no key.
    if (guard) answer.headers['content-security-policy'] = NO_ORIGIN_POLICY
    const { location } = answer.headers
    const prefix = prefixes.get(incoming)
    if (prefix === undefined) return
    if (location && /^\/(?!\/)/.test(location)) answer.headers.location = `${prefix}${location}`
    confineFields(answer.headers, prefix)
  })
  const prepare = (incoming: IncomingMessage) => {
    const { id, target, path, prefix } = resolveTarget(feed, incoming.url ?? '/')
    if (incoming.headers[SERVICE_WORKER_FIELD] !== undefined)
      throw refusal('GENERAL::FORBIDDEN', NO_SERVICE_WORKER)
    requireAccess(feed.get(id), incoming)
    if (incoming.headers['opensandbox-access-renew'] !== 'skip') traffic?.follow(id, incoming.socket)
    for (const name of DROPPED) delete incoming.headers[name]
    prefixes.set(incoming, prefix)
    incoming.url = path
    return 'socketPath' in target
      ? { host: 'localhost', port: 80, protocol: 'http:', socketPath: target.socketPath }
      : { host: target.host, port: target.port, protocol: 'http:' }
  }

  return {
    forward(incoming, outgoing) {
      outgoing.once('close', () => traffic?.leave(incoming.socket))
      try {
        server.web(incoming, outgoing, { target: prepare(incoming) }, (error) => {
          log.debug('sandbox did not answer', { error: messageOf(error) })
          writeRefusal(outgoing, refusalOfForward(error))
        })
      } catch (error) {
        writeRefusal(outgoing, error instanceof ApiError ? error : refusalOfForward(error))
      }
    },
    attach(httpServer) {
      httpServer.on('upgrade', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
        socket.on('error', () => socket.destroy())
        socket.once('close', () => traffic?.leave(incoming.socket))
        const pass = async () => {
          await guard?.(incoming)
          const target = prepare(incoming)
          server.ws(incoming, socket, head, { target }, (error) => {
            log.debug('sandbox did not take a WebSocket', { error: messageOf(error) })
            writeRefusalToSocket(socket, refusalOfForward(error))
          })
        }
        pass().catch((error) =>
          writeRefusalToSocket(socket, error instanceof ApiError ? error : refusalOfForward(error)),
        )
      })
    },
  }
}

/** As the gateway does: nothing that would be about the API's origin, and cookies of the sandbox's own path. */
function confineFields(headers: IncomingHttpHeaders, prefix: string): void {
  for (const [key, value] of Object.entries(headers)) {
    const kept = [value ?? []].flat().flatMap((each) => confineField(key, each, prefix) ?? [])
    if (kept.length === 0) delete headers[key]
    else headers[key] = Array.isArray(value) ? kept : kept[0]
  }
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
  if (code === 'ECONNRESET' || code?.startsWith('HPE_'))
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

function writeRefusalToSocket(socket: Duplex, error: ApiError): void {
  if (!socket.writable) return
  const body = JSON.stringify(error.body())
  const headers = Object.entries(error.headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(
    `HTTP/1.1 ${error.status} Refused\r\n${headers.join('')}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}

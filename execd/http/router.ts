// The routes of execd on bare node:http. A framework would cost more at each start of a sandbox than it saves here.
// Order on every request: request id, token, route (contract: execd.md 0.1).

import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { EXECD_TOKEN_HEADER, TOKEN_IN_PATH } from '../../lib/api/execd.ts'
import { ApiError, messageOf, systemCodeOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { createRandomId } from '../random-id.ts'
import { answerJson, answerText, execdError } from './answer.ts'
import { isMarkedFailed } from './outcome.ts'

/** One request with its answer. */
export type Exchange = {
  request: IncomingMessage
  response: ServerResponse
  /** The decoded parts of the path that the route leaves open. */
  params: string[]
  query: URLSearchParams
  /**
   * The socket of a request to upgrade, on `UPGRADE` routes alone. A handler that takes it calls `take`, and the socket is its
   * own from then on; one that throws instead answers as on any other route.
   */
  upgrade?: { take(): { socket: Socket; head: Buffer } }
}

export type Handler = (exchange: Exchange) => void | Promise<void>

/**
 * `GET /command/status/{id}`; `UPGRADE /pty/{id}/ws` for requests to upgrade to WebSocket; `* /proxy` for every method on it and
 * on everything below it, `UPGRADE* /proxy` likewise for upgrades.
 */
export type Routes = Record<string, Handler>

const ANY = '*'
const UPGRADE = 'UPGRADE'
const UPGRADES = 'UPGRADE*'

/** What needs no token: that execd is up, which health probes ask that know of none. */
const OPEN_ROUTES = ['GET /ping', 'HEAD /ping']

/** A request that has been answered. */
export type Seen = {
  method: string
  /** The raw path, without the query. */
  path: string
  /** The route that took it, such as `GET /files/info`; undefined when none did. */
  route: string | undefined
  status: number
  /** The answer was a stream that ended with an error, whatever its status says. */
  isFailed: boolean
  ms: number
}

export type RouterOptions = {
  routes: Routes
  token: string
  log: Logger
  /** Told of every answered request, when somebody measures. */
  observe?: ((seen: Seen) => void) | undefined
}

export type Router = {
  /** The listener of `request`. */
  request(request: IncomingMessage, response: ServerResponse): void
  /** Whether a request to upgrade is one for `upgrade`; any other is answered as if it had not asked to. */
  upgrades(request: IncomingMessage): boolean
  /** The listener of `upgrade`. */
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void
}

type Found = { route: string; handler: Handler; params: string[] }

/** Makes the listeners of an HTTP server. */
export function createRouter({ routes, token, log, observe }: RouterOptions): Router {
  const exact = new Map<string, Handler>()
  const patterns: { route: string; methods: string; below: boolean; parts: string[]; handler: Handler }[] = []
  for (const [route, handler] of Object.entries(routes)) {
    const [method = '', path = ''] = route.split(' ')
    const below = method.endsWith('*')
    if (!below && !path.includes('{')) exact.set(route, handler)
    else patterns.push({ route, methods: method, below, parts: path.split('/'), handler })
  }
  const isAllowed = createTokenCheck(token)

  const find = (method: string, path: string): Found | undefined => {
    const route = `${method} ${path}`
    const handler = exact.get(route)
    if (handler) return { route, handler, params: [] }
    const parts = path.split('/')
    for (const pattern of patterns) {
      const isAsked = pattern.methods === method || pattern.methods === (method === UPGRADE ? UPGRADES : ANY)
      const params = isAsked ? matchPath(pattern.parts, parts, pattern.below) : undefined
      if (params) return { route: pattern.route, handler: pattern.handler, params }
    }
    return undefined
  }

  const handle = (
    method: string,
    request: IncomingMessage,
    response: ServerResponse,
    upgrade?: Exchange['upgrade'],
  ): void => {
    const requestId = request.headers['x-request-id']
    response.setHeader(
      'X-Request-ID',
      typeof requestId === 'string' && /^[\x21-\x7e]{1,128}$/.test(requestId) ? requestId : createRandomId(),
    )
    const tokenInPath = takeTokenInPath(request)
    const url = request.url ?? '/'
    const at = url.indexOf('?')
    const path = at < 0 ? url : url.slice(0, at)
    const found = find(method, path)
    if (observe) {
      const startedAt = performance.now()
      response.once('close', () =>
        observe({
          method: request.method ?? '',
          path,
          route: found?.route,
          status: response.statusCode,
          isFailed: isMarkedFailed(response),
          ms: performance.now() - startedAt,
        }),
      )
    }
    if (
      !OPEN_ROUTES.includes(found?.route ?? '') &&
      !isAllowed(request.headers[EXECD_TOKEN_HEADER] ?? tokenInPath)
    ) {
      response.setHeader('Connection', 'close')
      answerJson(response, 401, {
        error: 'Unauthorized: invalid or missing header X-EXECD-ACCESS-TOKEN',
        code: 'UNAUTHORIZED',
        message: 'Unauthorized: invalid or missing header X-EXECD-ACCESS-TOKEN',
      })
      return
    }
    if (!found) {
      const shorter = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : undefined
      if (shorter && !shorter.startsWith('//') && find(method, shorter)) {
        // Whoever cannot send the header needs the token in the next path, too.
        const before = tokenInPath === undefined ? '' : `${TOKEN_IN_PATH}${tokenInPath}`
        response.setHeader('Location', `${before}${shorter}${at < 0 ? '' : url.slice(at)}`)
        answerText(response, method === 'GET' ? 301 : 307, 'moved')
      } else answerText(response, 404, '404 page not found')
      return
    }
    run(found.handler, {
      request,
      response,
      params: found.params,
      query: new URLSearchParams(at < 0 ? '' : url.slice(at + 1)),
      ...(upgrade ? { upgrade } : {}),
    })
  }

  /** Until a handler takes the socket, an upgrade is an exchange like any other, with its answer on that socket. */
  const handleUpgrade = (request: IncomingMessage, socket: Socket, head: Buffer): void => {
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    const ignore = () => {}
    socket.on('error', ignore)
    response.once('finish', () => socket.destroySoon())
    handle(UPGRADE, request, response, {
      take: () => {
        response.detachSocket(socket)
        socket.off('error', ignore)
        return { socket, head }
      },
    })
  }

  return {
    request: (request, response) => handle(request.method ?? '', request, response),
    upgrades: (request) => {
      const isWebSocket = request.headers.upgrade?.toLowerCase() === 'websocket'
      return isWebSocket && find(UPGRADE, request.url?.split('?')[0] ?? '') !== undefined
    },
    upgrade: handleUpgrade,
  }

  function run(handler: Handler, exchange: Exchange): void {
    try {
      const params = exchange.params.map(decodeParam)
      const done = handler({ ...exchange, params })
      if (done) done.catch((error: unknown) => fail(exchange, error))
    } catch (error) {
      fail(exchange, error)
    }
  }

  function fail({ request, response }: Exchange, thrown: unknown): void {
    const error = toApiError(thrown)
    if (error.status >= 500 && error !== thrown) {
      log.error('request failed', {
        requestId: response.getHeader('X-Request-ID'),
        method: request.method,
        path: request.url?.split('?')[0],
        error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
      })
    }
    // Half an answer must not look like a whole one.
    if (response.headersSent) {
      response.destroy()
      return
    }
    // A client reads no answer before it has sent everything, so the rest of its body is taken and thrown away.
    // What has begun to read it piece by piece and has given up still listens, which would hold back all that is left. Where nobody
    // does, to remove its listeners would stop a body that flows.
    if (!request.readableEnded) {
      if (request.listenerCount('readable') > 0) request.removeAllListeners('readable')
      request.resume()
    }
    answerJson(response, error.status, error.body())
  }
}

/** For clients that send no headers of an endpoint. It goes no further, neither to a log nor to a program behind `/proxy`. */
function takeTokenInPath(request: IncomingMessage): string | undefined {
  const { url = '' } = request
  if (!url.startsWith(TOKEN_IN_PATH)) return undefined
  const end = url.slice(TOKEN_IN_PATH.length).search(/[/?]/)
  const length = TOKEN_IN_PATH.length + (end < 0 ? url.length : end)
  request.url = url[length] === '/' ? url.slice(length) : `/${url.slice(length)}`
  return url.slice(TOKEN_IN_PATH.length, length)
}

/** Parameters of a path, or undefined when it does not match; with `below`, everything under the pattern matches. */
function matchPath(pattern: string[], parts: string[], below: boolean): string[] | undefined {
  if (below ? parts.length < pattern.length : parts.length !== pattern.length) return undefined
  const params: string[] = []
  for (const [index, part] of pattern.entries()) {
    const found = parts[index] ?? ''
    if (part.startsWith('{')) params.push(found)
    else if (part !== found) return undefined
  }
  return params
}

function decodeParam(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    throw execdError(
      'INVALID_REQUEST_BODY',
      `The path has a part that is not percent-encoded right: "${text}"`,
      error,
    )
  }
}

/** Errors of the file system that are the caller's to know, as refusals; the rest is a bug and says no more than that. */
function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const code = systemCodeOf(error)
  if (code === 'ENOENT') return execdError('FILE_NOT_FOUND', messageOf(error), error)
  if (code === 'ENAMETOOLONG' || code === 'ELOOP')
    return execdError('INVALID_REQUEST_BODY', messageOf(error), error)
  if (code?.startsWith('E') && !code.startsWith('ERR_'))
    return execdError('RUNTIME_ERROR', messageOf(error), error)
  return execdError('RUNTIME_ERROR', 'Internal error: the log of the sandbox has more', error)
}

function createTokenCheck(wanted: string): (given: string | string[] | undefined) => boolean {
  return (given) => {
    if (typeof given !== 'string' || given.length !== wanted.length) return false
    // Looks at every character whatever the ones before were, so that the time says nothing about them.
    let difference = 0
    for (let at = 0; at < wanted.length; at++) difference |= given.charCodeAt(at) ^ wanted.charCodeAt(at)
    return difference === 0
  }
}

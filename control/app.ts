// The lifecycle API as one Hono app: what every request goes through, then the routes, then what every error becomes
// (contract: lifecycle.md 1). Everything it needs is handed in, so that a test calls `app.request()` and needs no port.

import type { IncomingMessage } from 'node:http'
import { type Context, Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { ApiError } from '../lib/errors.ts'
import { hostOfPublicAddress } from '../lib/public-address.ts'
import { authenticate } from './access/authenticate.ts'
import { shareFairly } from './access/fair-share.ts'
import { requireLocalCaller } from './access/local-caller.ts'
import { recordAudit } from './access/record-audit.ts'
import { limitRate } from './access/request-rate.ts'
import type { AppDeps, AppEnv, AppSettings } from './app-deps.ts'
import { allowOrigins } from './cors.ts'
import { refusal, refusalOfStore } from './errors.ts'
import { observeRequests } from './observe/observe-requests.ts'
import { loggedPath } from './request.ts'
import { adminRoutes } from './routes/admin.ts'
import { connectionRoutes } from './routes/connections.ts'
import { diagnosticsRoutes } from './routes/diagnostics.ts'
import { docsRoutes } from './routes/docs.ts'
import { domainRoutes } from './routes/domains.ts'
import { endpointRoutes } from './routes/endpoints.ts'
import { eventRoutes } from './routes/events.ts'
import { imageRoutes } from './routes/images.ts'
import { metricsRoutes } from './routes/metrics.ts'
import { networkPolicyRoutes } from './routes/network-policy.ts'
import { operationRoutes } from './routes/operations.ts'
import { poolRoutes } from './routes/pools.ts'
import { proxyRoutes } from './routes/proxy.ts'
import { sandboxRoutes } from './routes/sandboxes.ts'
import { shareRoutes } from './routes/shares.ts'
import { snapshotRoutes } from './routes/snapshots.ts'
import { templateRoutes } from './routes/templates.ts'
import { volumeRoutes } from './routes/volumes.ts'
import { VolumeSizes } from './sandbox/volume-sizes.ts'

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

export function createApp(deps: AppDeps): Hono<AppEnv> {
  const { settings, log, lives, access } = deps
  const { keyring } = access
  const app = new Hono<AppEnv>()

  app.use(
    observeRequests({
      observation: deps.observation,
      log,
      clientOf: (context) => clientOf(context, deps.trustForwarded),
    }),
  )
  const otherOrigins = allowOrigins(settings.corsOrigins ?? ['*'])
  const localCaller = requireLocalCaller(hostsOf(settings), deps.trustForwarded)
  // Asked at each request: the first key can be made, and the last one revoked, while this runs.
  app.use((context, next) => (keyring.isNeeded ? otherOrigins : localCaller)(context, next))
  app.use(
    recordAudit({
      audit: access.audit,
      now: lives.now,
      clientOf: (context) => clientOf(context, deps.trustForwarded),
      onFailure: (error) => log.error('a change could not be written to the audit', { error }),
      onLeftOut: (by) =>
        log.warn('refused changes are left out of the audit until the minute is over', { by }),
    }),
  )
  app.use(
    authenticate({
      keyring,
      clientOf: (context) => clientOf(context, deps.trustForwarded),
      metricsToken: settings.metricsToken,
    }),
  )
  app.use(limitRate(access.rate))
  app.use(shareFairly())

  app.route('/', operationRoutes(deps))
  app.route('/', docsRoutes(settings))
  const volumeSizes = new VolumeSizes(lives)
  for (const prefix of ['/', '/v1']) {
    app.route(prefix, sandboxRoutes(deps))
    app.route(prefix, adminRoutes(deps))
    app.route(prefix, connectionRoutes(deps))
    app.route(prefix, imageRoutes(deps))
    app.route(prefix, endpointRoutes(deps))
    app.route(prefix, networkPolicyRoutes(deps))
    app.route(prefix, shareRoutes(deps))
    app.route(prefix, domainRoutes(deps))
    app.route(prefix, eventRoutes(deps))
    app.route(prefix, diagnosticsRoutes(lives))
    app.route(prefix, metricsRoutes({ log, observer: deps.observation.observer }))
    app.route(prefix, poolRoutes(deps))
    app.route(prefix, templateRoutes(deps))
    app.route(prefix, snapshotRoutes(deps))
    app.route(prefix, volumeRoutes(deps, volumeSizes))
    app.route(prefix, proxyRoutes(deps))
  }

  app.notFound((context) => {
    const allowed = allowedMethods(app, context.req.path)
    if (allowed.length === 0) return answer(context, refusal('GENERAL::NOT_FOUND', 'There is no such route'))
    context.header('Allow', allowed.join(', '))
    return answer(context, refusal('GENERAL::METHOD_NOT_ALLOWED', `This route allows ${allowed.join(', ')}`))
  })
  app.onError((error, context) => {
    const requestId = context.get('requestId')
    const path = loggedPath(context.req.path)
    // What was refused for a reason of its own stays so; behind a failure the database may stand.
    const failedStore = error instanceof ApiError && error.status < 500 ? undefined : refusalOfStore(error)
    if (failedStore) {
      log.error('the database or its disk failed', { code: failedStore.code, error, path })
      return answer(context, failedStore)
    }
    if (!(error instanceof ApiError)) {
      log.error('a request failed by a fault of this program', { error, stack: error.stack, path })
      return answer(
        context,
        refusal('GENERAL::UNKNOWN_ERROR', `Something went wrong; the log tells more under ${requestId}`),
      )
    }
    const { status, message } = error
    log[status >= 500 ? 'error' : 'debug']('refused', {
      code: error.code,
      error: message,
      cause: causeOf(error),
      path,
    })
    return answer(context, error)
  })
  return app
}

function answer(context: Context<AppEnv>, error: ApiError): Response {
  return context.json(error.body(), error.status as ContentfulStatusCode, error.headers)
}

/**
 * Who asks: what our gateway says on its socket, else the other end of the connection. The gateway names the client first, then the proxies
 * between that it trusts.
 */
function clientOf(context: Context<AppEnv>, trustForwarded: boolean): string | undefined {
  if (trustForwarded) return context.req.header('x-forwarded-for')?.split(',').at(0)?.trim().slice(0, 64)
  const env = context.env as { incoming?: IncomingMessage } | undefined
  return env?.incoming?.socket.remoteAddress
}

/** The host names of the operator's own by which this server may be asked, beside those of loopback. */
export function hostsOf({ eip, domain }: AppSettings): string[] {
  return [
    ...(eip === undefined ? [] : [hostOfPublicAddress(eip)]),
    ...(domain === 'localhost' ? [] : [domain]),
  ]
}

function allowedMethods(app: Hono<AppEnv>, path: string): string[] {
  const allowed = new Set<string>()
  for (const { method, path: pattern } of app.routes) {
    if (method === 'ALL' || !matches(pattern, path)) continue
    allowed.add(method)
    if (method === 'GET') allowed.add('HEAD')
  }
  return METHODS.filter((method) => allowed.has(method))
}

function matches(pattern: string, path: string): boolean {
  const wanted = pattern.split('/')
  const given = path.split('/')
  return (
    wanted.length === given.length &&
    wanted.every((part, at) => (part.startsWith(':') ? given[at] !== '' : part === given[at]))
  )
}

function causeOf(error: Error): unknown {
  const { cause } = error
  if (cause instanceof Error && cause.cause instanceof Error)
    return `${cause.message}: ${cause.cause.message}`
  return cause instanceof Error ? cause.message : cause
}

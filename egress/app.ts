// Egress's two APIs: one for control, one for the clients of each sandbox. They are served on two sockets, and what belongs to
// control cannot be reached through the other.

import { Hono } from 'hono'
import { ApiError } from '../lib/errors.ts'
import { createRequestId } from '../lib/id.ts'
import type { Logger } from '../lib/log.ts'
import { type AdminDeps, adminRoutes } from './routes/admin.ts'
import { formatError, type PolicyDeps, policyRoutes } from './routes/policy.ts'
import { type VaultDeps, vaultRoutes } from './routes/vault.ts'

/** The administration API: JSON errors. */
export function createAdminApp(deps: AdminDeps & { log: Logger }): Hono {
  const app = new Hono().route('/', adminRoutes(deps))
  app.notFound((context) => context.json({ code: 'NOT_FOUND', message: 'There is no such route' }, 404))
  app.onError((error, context) => {
    const known = knownError(error, deps.log, context.req.path)
    return Response.json(known.body(), { status: known.status })
  })
  return app
}

export type PolicyAppDeps = PolicyDeps & VaultDeps

/** The APIs of policies and vaults: errors are plain text. `pathOf` says where a request belongs when its own path does not. */
export function createPolicyApp(
  deps: PolicyAppDeps,
  { pathOf }: { pathOf?: (request: Request) => string } = {},
): Hono {
  const app = new Hono(pathOf && { getPath: pathOf })
    .route('/', policyRoutes(deps))
    .route('/', vaultRoutes(deps))
  app.notFound(() => formatError(new ApiError(404, 'NOT_FOUND', '404 page not found')))
  app.onError((error, context) => formatError(knownError(error, deps.log, context.req.path)))
  return app
}

function knownError(error: Error, log: Logger, path: string): ApiError {
  if (error instanceof ApiError) return error
  const id = createRequestId()
  log.error('request failed', { id, path, error })
  return new ApiError(500, 'INTERNAL_ERROR', `internal error ${id}`)
}

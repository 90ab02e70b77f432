// Who asks about a sandbox, and how the two APIs below `/sandboxes/{id}` answer alike.

import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import { ApiError } from '../../lib/errors.ts'
import { notFound, type Sandbox } from '../sandbox-table.ts'
import type { Sandboxes } from '../sandboxes.ts'

const TOKEN_HEADER = 'OPENSANDBOX-EGRESS-AUTH'

export function requireSandbox(sandboxes: Sandboxes, context: Context): Sandbox {
  const id = context.req.param('id') ?? ''
  const sandbox = sandboxes.get(id)
  if (!sandbox) throw notFound(/^[a-z0-9-]{1,63}$/.test(id) ? id : '?')
  return sandbox
}

/** The caller has shown the secret of this very sandbox; it is asked for before the method (contract: egress.md 2.1). */
export function requireCaller(sandboxes: Sandboxes, context: Context): Sandbox {
  const sandbox = requireSandbox(sandboxes, context)
  const given = context.req.header(TOKEN_HEADER) ?? ''
  // Digests are of one length, whatever was sent, so the time says nothing about the secret.
  const digest = (text: string) => createHash('sha256').update(text).digest()
  if (!timingSafeEqual(digest(given), digest(sandbox.token)))
    throw new ApiError(401, 'UNAUTHORIZED', 'unauthorized')
  return sandbox
}

export function json(context: Context, body: unknown, status: 200 | 201 = 200): Response {
  return context.body(`${JSON.stringify(body)}\n`, status, { 'Content-Type': 'application/json' })
}

export function methodNotAllowed(context: Context, allow: string): ApiError {
  return new ApiError(405, 'METHOD_NOT_ALLOWED', `method ${context.req.method} not allowed`, {
    extra: { allow },
  })
}

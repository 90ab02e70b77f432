// One row for every change that was asked for, refused ones too: who, what, how it went. Written when the answer is ready, so
// that it has the status; what fails is logged and does not take the answer away.

import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../app.ts'
import { routeOf } from '../observe/observe-requests.ts'
import type { AuditLog } from '../store/audit.ts'
import { READING } from './authenticate.ts'

/** What the SDKs report of themselves changes nothing. */
const NOT_A_CHANGE = /\/metrics\/events$/

export type AuditOptions = {
  audit: AuditLog
  now: () => number
  clientOf: (context: Parameters<MiddlewareHandler<AppEnv>>[0]) => string | undefined
  onFailure: (error: unknown) => void
}

export function recordAudit({ audit, now, clientOf, onFailure }: AuditOptions): MiddlewareHandler<AppEnv> {
  return async (context, next) => {
    await next()
    const { method, path } = context.req
    if (READING.has(method) || NOT_A_CHANGE.test(path) || path.includes('/proxy/')) return
    const principal = context.get('principal') as AppEnv['Variables']['principal'] | undefined
    try {
      audit.append({
        at: now(),
        requestId: context.get('requestId'),
        actor: principal?.name ?? '(unknown)',
        role: principal?.role ?? 'none',
        tenant: principal?.tenant ?? null,
        client: clientOf(context) ?? null,
        method,
        route: (routeOf(context) ?? path).slice(0, 200),
        target: (context.req.param('id') ?? context.req.param('name'))?.slice(0, 200) ?? null,
        status: context.res.status,
        code: context.error && 'code' in context.error ? String(context.error.code).slice(0, 100) : null,
      })
    } catch (error) {
      onFailure(error)
    }
  }
}

// One row for every change that was asked for, refused ones too: who, what, how it went. Written when the answer is ready, so
// that it has the status; what fails is logged and does not take the answer away.

import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../app-deps.ts'
import { READING, routeOf } from '../request.ts'
import type { AuditLog } from '../store/audit.ts'

/** What the SDKs report of themselves changes nothing. */
const NOT_A_CHANGE = /\/metrics\/events$/

/** Of what one caller was refused, so many rows a minute are written: whoever has no key at all could fill the disk. */
const MAX_REFUSED = 300
const MINUTE_MS = 60_000

export type AuditOptions = {
  audit: Pick<AuditLog, 'append'>
  now: () => number
  clientOf: (context: Parameters<MiddlewareHandler<AppEnv>>[0]) => string | undefined
  onFailure: (error: unknown) => void
  /** Called once a minute with whoever was refused more than is written. */
  onLeftOut: (actor: string) => void
}

export function recordAudit(options: AuditOptions): MiddlewareHandler<AppEnv> {
  const { audit, now, clientOf, onFailure, onLeftOut } = options
  /** How often each was refused in this minute. */
  const refused = new Map<string, number>()
  let minute = 0

  function isLeftOut(actor: string, at: number): boolean {
    if (Math.floor(at / MINUTE_MS) !== minute) refused.clear()
    minute = Math.floor(at / MINUTE_MS)
    const count = (refused.get(actor) ?? 0) + 1
    refused.set(actor, count)
    if (count === MAX_REFUSED + 1) onLeftOut(actor)
    return count > MAX_REFUSED
  }

  return async (context, next) => {
    await next()
    const { method, path } = context.req
    if (READING.has(method) || NOT_A_CHANGE.test(path) || path.includes('/proxy/')) return
    const principal = context.get('principal') as AppEnv['Variables']['principal'] | undefined
    const at = now()
    const actor = principal?.name ?? '(unknown)'
    const { status } = context.res
    if (status >= 400 && isLeftOut(actor, at)) return
    try {
      audit.append({
        at,
        requestId: context.get('requestId'),
        actor,
        role: principal?.role ?? 'none',
        tenant: principal?.tenant ?? null,
        client: clientOf(context) ?? null,
        method,
        route: (routeOf(context) ?? path).slice(0, 200),
        target: (context.req.param('id') ?? context.req.param('name'))?.slice(0, 200) ?? null,
        status,
        code: context.error && 'code' in context.error ? String(context.error.code).slice(0, 100) : null,
      })
    } catch (error) {
      onFailure(error)
    }
  }
}

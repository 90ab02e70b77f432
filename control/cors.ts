// Cross-origin requests as the contract has them (lifecycle.md 1.1): any origin may ask when a key guards the API, because
// the key travels in a header that no foreign page can know; an operator can name those that may. Without a key nothing is
// said, so browsers refuse.

import type { MiddlewareHandler } from 'hono'
import { refusal } from './errors.ts'

/** Answers preflights and marks answers for the origins that are allowed, in lower case; `*` is any. */
export function allowOrigins(allowed: readonly string[]): MiddlewareHandler {
  const isAllowed = (origin: string) => allowed.includes('*') || allowed.includes(origin.toLowerCase())
  return async (context, next) => {
    const origin = context.req.header('origin')
    const isPreflight =
      context.req.method === 'OPTIONS' &&
      origin !== undefined &&
      context.req.header('access-control-request-method') !== undefined
    if (isPreflight) {
      if (!isAllowed(origin))
        throw refusal('GENERAL::ORIGIN_NOT_ALLOWED', 'This server answers no pages of this origin')
      const wanted = context.req.header('access-control-request-headers')
      return context.text('OK', 200, {
        'Access-Control-Allow-Origin': origin,
        'Access-Control-Allow-Credentials': 'true',
        'Access-Control-Allow-Methods': 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT',
        ...(wanted !== undefined && { 'Access-Control-Allow-Headers': wanted }),
        'Access-Control-Max-Age': '600',
        Vary: 'Origin',
      })
    }
    await next()
    context.res.headers.append('Vary', 'Origin')
    if (origin === undefined || !isAllowed(origin)) return
    context.res.headers.set('Access-Control-Allow-Origin', origin)
    context.res.headers.set('Access-Control-Allow-Credentials', 'true')
    context.res.headers.set('Access-Control-Expose-Headers', 'OPEN-SANDBOX-ORIGIN')
  }
}

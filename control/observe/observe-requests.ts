// Around every request: its id, its trace, its time. One line of the log says how it went: at `info` when it changed something
// or failed by our fault, at `debug` when it only read, so that probes and polling do not fill a disk.

import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context, MiddlewareHandler } from 'hono'
import { createRequestId } from '../../lib/id.ts'
import type { Logger } from '../../lib/log.ts'
import type { AppEnv } from '../app-deps.ts'
import { loggedPath, READING, routeOf } from '../request.ts'
import type { Observation } from './open-observation.ts'
import { parseTraceContext } from './trace-context.ts'

export type ObserveRequestsOptions = {
  observation: Pick<Observation, 'scope' | 'observer' | 'beginTrace'>
  log: Logger
  clientOf: (context: Context<AppEnv>) => string | undefined
}

const NO_ROUTE = '(none)'

export function observeRequests({
  observation,
  log,
  clientOf,
}: ObserveRequestsOptions): MiddlewareHandler<AppEnv> {
  const { scope, observer } = observation
  return (context, next) => {
    const beganAt = Date.now()
    const began = performance.now()
    const inbound = parseTraceContext(context.req.header('traceparent'), context.req.header('tracestate'))
    const trace = observation.beginTrace(inbound)
    const requestId = readRequestId(context.req.header('x-request-id'))
    const scoped = { requestId, ...(trace && { trace }) }
    context.set('requestId', requestId)
    observer.requestBegins()
    return scope.run(scoped, async () => {
      await next()
      const done = (status: number) => {
        const { method, path } = context.req
        const route = routeOf(context) ?? NO_ROUTE
        const ms = performance.now() - began
        const told = { method, route, status, beganAt, ms, scoped }
        observer.requestDone(inbound ? { ...told, parentSpanId: inbound.spanId } : told)
        log[READING.has(method) && status < 500 ? 'debug' : 'info']('request', {
          method,
          path: loggedPath(path),
          route,
          status,
          ms: Math.round(ms * 10) / 10,
          by: context.get('principal')?.name,
          client: clientOf(context),
        })
      }
      // What a sandbox answers through us begins when it does, and has its own id in it already.
      const { outgoing } = (context.env ?? {}) as { outgoing?: Outgoing }
      if (context.res === RESPONSE_ALREADY_SENT && outgoing)
        outgoing.once('close', () => scope.run(scoped, () => done(outgoing.statusCode)))
      else {
        context.res.headers.set('X-Request-ID', requestId)
        done(context.res.status)
      }
    })
  }
}

type Outgoing = { statusCode: number; once(event: 'close', listener: () => void): unknown }

/** An inbound request id is taken when it can stand in a log line and a header as it is. */
function readRequestId(given: string | undefined): string {
  const id = given?.trim() ?? ''
  return /^[\w.:/+=@-]{1,128}$/.test(id) ? id : createRequestId()
}

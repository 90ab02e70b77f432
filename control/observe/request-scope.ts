// Which request the code that runs now belongs to, however deep it is and however late: what a create goes on doing after its
// answer still says whose it is. So a line of the log has its request id without everybody handing it on.

import { AsyncLocalStorage } from 'node:async_hooks'
import type { LogFields, Logger, LogLevel } from '../../lib/log.ts'
import { formatTraceContext, type TraceContext } from './trace-context.ts'

export type Scoped = { requestId: string; trace?: TraceContext }

export type RequestScope = {
  run<T>(scoped: Scoped, work: () => T): T
  current(): Scoped | undefined
  /** What a program that is asked on behalf of the request is told of its trace. */
  traceHeaders(): Record<string, string>
}

export function createRequestScope(): RequestScope {
  const storage = new AsyncLocalStorage<Scoped>()
  return {
    run: (scoped, work) => storage.run(scoped, work),
    current: () => storage.getStore(),
    traceHeaders() {
      const trace = storage.getStore()?.trace
      return trace ? formatTraceContext(trace) : {}
    },
  }
}

/** A logger that puts the request's id, and that of its trace, into each line that belongs to one. */
export function createScopedLogger(log: Logger, scope: RequestScope): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    const scoped = scope.current()
    if (!scoped) return log[level](message, fields)
    const { requestId, trace } = scoped
    log[level](message, { ...fields, requestId, ...(trace && { traceId: trace.traceId }) })
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

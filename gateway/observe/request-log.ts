// The one line that tells how a request went: a warning when it failed by a fault of ours or of a sandbox.

import type { Logger } from '../../lib/log.ts'
import { loggedHost, loggedPath } from './logged.ts'
import type { Outcome } from './outcome.ts'

/** `logsRequests` says whether those that went well are told, too. */
export function createRequestLog(log: Logger, logsRequests: () => boolean): (outcome: Outcome) => void {
  return ({ head, plan, client, status, ms, reason, isPassing = false }) => {
    const isFault = reason !== undefined && !isPassing && (status >= 500 || status < 400)
    if (!isFault && !logsRequests() && status !== 499) return
    log[isFault ? 'warn' : status === 499 ? 'info' : 'debug']('request', {
      method: head?.method,
      path: head && loggedPath(head.target),
      host: head && loggedHost(head.host),
      ...(plan && plan.target.group !== '' && { sandbox: plan.target.group, port: plan.port }),
      status,
      ms: Math.round(ms),
      client,
      reason,
    })
  }
}

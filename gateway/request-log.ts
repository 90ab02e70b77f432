// The one line that tells how a request went: a warning when it failed by a fault of ours or of a sandbox.

import { TOKEN_IN_PATH } from '../lib/api/execd.ts'
import type { Logger } from '../lib/log.ts'
import type { Outcome } from './connection.ts'

/** `logsRequests` says whether those that went well are told, too. */
export function createRequestLog(log: Logger, logsRequests: () => boolean): (outcome: Outcome) => void {
  return ({ head, plan, client, status, ms, reason, isPassing = false }) => {
    const isFault = reason !== undefined && !isPassing && (status >= 500 || status < 400)
    if (!isFault && !logsRequests() && status !== 499) return
    log[isFault ? 'warn' : status === 499 ? 'info' : 'debug']('request', {
      method: head?.method,
      path: head && loggedPath(head.target),
      host: head?.host,
      ...(plan && plan.target.group !== '' && { sandbox: plan.target.group, port: plan.port }),
      status,
      ms: Math.round(ms),
      client,
      reason,
    })
  }
}

/** A path without what may be a secret: its query, and a token of execd (docs/decisions/kotlin-client.md). */
function loggedPath(target: string): string {
  const [path = ''] = target.split('?', 1)
  const at = path.indexOf(TOKEN_IN_PATH)
  if (at < 0) return path.slice(0, 200)
  const end = path.indexOf('/', at + TOKEN_IN_PATH.length)
  return `${path.slice(0, at)}${TOKEN_IN_PATH}…${end < 0 ? '' : path.slice(end)}`.slice(0, 200)
}

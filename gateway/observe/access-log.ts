// One line of JSON for every request, in a file of its own. The file is opened anew when it is asked for, so that it can be moved away
// and compressed. Who cannot write as fast as requests come loses lines, and says how many.

import { createWriteStream, type WriteStream } from 'node:fs'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { RouteOf } from '../decision/decide.ts'
import { loggedHost, loggedPath } from './logged.ts'
import type { Outcome } from './outcome.ts'

const MAX_WAITING_BYTES = 4 * 1024 * 1024

export type AccessLogOptions = {
  path: string
  log: Logger
  now?: () => Date
}

export type AccessLog = {
  report(outcome: Outcome, routeOf: RouteOf): void
  /** Goes on in the file that has the name now. */
  reopen(): void
  close(): Promise<void>
}

export function openAccessLog({ path, log, now = () => new Date() }: AccessLogOptions): AccessLog {
  let lost = 0
  let stream = open()

  function open(): WriteStream {
    // Who may read what was asked for is the operator's to say.
    const opened = createWriteStream(path, { flags: 'a', mode: 0o640 })
    opened.on('error', (error) =>
      log.warn('the access log cannot be written', { path, error: messageOf(error) }),
    )
    return opened
  }

  return {
    report(outcome, routeOf) {
      if (!stream.writable || stream.writableLength > MAX_WAITING_BYTES) {
        lost++
        return
      }
      if (lost > 0) {
        log.warn('lines of the access log were lost', { lost })
        lost = 0
      }
      stream.write(`${JSON.stringify(entryOf(outcome, routeOf, now()))}\n`)
    },
    reopen() {
      stream.end()
      stream = open()
    },
    close: () => new Promise((resolve) => stream.end(() => resolve())),
  }
}

/** What is written of a request. */
function entryOf(outcome: Outcome, routeOf: RouteOf, at: Date): Record<string, unknown> {
  const { head, plan, client, status, ms, legs, bytesIn, bytesOut, reason } = outcome
  return {
    time: at.toISOString(),
    client,
    ...(head && {
      method: head.method,
      host: loggedHost(head.host),
      path: loggedPath(head.target),
      protocol: outcome.isHttp2 ? 'HTTP/2' : `HTTP/1.${head.minor}`,
      ...(head.upgrade !== undefined && { upgrade: head.upgrade }),
    }),
    ...sandboxOf(outcome, routeOf),
    ...(plan?.share && { share: plan.share.id }),
    status,
    bytesIn,
    bytesOut,
    ms: {
      wait: rounded(legs.waitMs),
      connect: rounded(legs.connectMs),
      firstByte: rounded(legs.firstByteMs),
      total: rounded(ms),
    },
    ...(reason !== undefined && { reason }),
  }
}

/** What did not get as far as a plan is still about a sandbox. */
function sandboxOf({ head, plan }: Outcome, routeOf: RouteOf): { sandbox?: string; port?: number } {
  if (plan) return plan.target.group === '' ? {} : { sandbox: plan.target.group, port: plan.port }
  const route = head && routeOf(head)
  return route?.kind === 'sandbox' ? { sandbox: route.address.id, port: route.address.port } : {}
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100
}

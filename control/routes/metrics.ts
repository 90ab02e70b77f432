import { Hono } from 'hono'
import { metricsEventSchema } from '../../lib/api/lifecycle.ts'
import type { Logger } from '../../lib/log.ts'
import type { AppEnv } from '../app-deps.ts'
import { readBody } from '../body.ts'
import type { Observer } from '../observe/observer.ts'

/** What the SDKs report after a create (contract: v1.1.md 1.1): one line in the log each, and a sample of a histogram. */
export function metricsRoutes({
  log,
  observer,
}: {
  log: Logger
  observer: Pick<Observer, 'createReported'>
}): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  routes.post('/metrics/events', async (context) => {
    const { createDurationMs: ms, success } = await readBody(context, metricsEventSchema)
    const sdk = /^OpenSandbox-(\w{1,32})-SDK\/([\w.+-]{1,32})/i.exec(context.req.header('user-agent') ?? '')
    const language = sdk?.[1]?.toLowerCase() ?? 'unknown'
    const version = sdk?.[2] ?? 'unknown'
    observer.createReported({ language, version, success, ms })
    log.info('a client reports a create', { ms, success, sdk: language, version })
    return context.body(null, 204)
  })
  return routes
}

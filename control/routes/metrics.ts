import { Hono } from 'hono'
import { metricsEventSchema } from '../../lib/api/lifecycle.ts'
import type { Logger } from '../../lib/log.ts'
import type { AppEnv } from '../app.ts'
import { readBody } from '../body.ts'

/** What the SDKs report after a create (contract: v1.1.md 1.1): one line in the log each. */
export function metricsRoutes(log: Logger): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  routes.post('/metrics/events', async (context) => {
    const { createDurationMs, success } = await readBody(context, metricsEventSchema)
    const sdk = /^OpenSandbox-(\w{1,32})-SDK\/([\w.+-]{1,32})/i.exec(context.req.header('user-agent') ?? '')
    log.info('a client reports a create', {
      ms: createDurationMs,
      success,
      sdk: sdk?.[1]?.toLowerCase() ?? 'unknown',
      version: sdk?.[2] ?? 'unknown',
    })
    return context.body(null, 204)
  })
  return routes
}

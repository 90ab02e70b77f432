import { Hono } from 'hono'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { requireOperator } from './tenant.ts'

/** What those ask who run the server, and their machines: each at one path, without `/v1`. */
export function operationRoutes({
  settings,
  observation,
  gateways,
  formatEgressMetrics,
}: Pick<AppDeps, 'settings' | 'observation' | 'gateways' | 'formatEgressMetrics'>): Hono<AppEnv> {
  const { metrics, readiness } = observation
  const routes = new Hono<AppEnv>()

  routes.get('/health', (context) => context.json({ status: 'healthy' }))

  routes.get('/version', (context) => context.json({ version: settings.version }))

  routes.get('/ready', async (context) => {
    const answer = await readiness.ask()
    context.header('Cache-Control', 'no-store')
    return context.json(answer, answer.status === 'ready' ? 200 : 503)
  })

  routes.get('/metrics', async (context) => {
    // They are about all tenants.
    requireOperator(
      context.get('principal'),
      "the numbers are for the operator's keys, and for the token of metrics.token",
    )
    const [{ contentType, text }, ofGateways = '', ofEgress = ''] = await Promise.all([
      metrics.format(),
      gateways?.formatMetrics(),
      formatEgressMetrics?.(),
    ])
    return context.body(text + ofGateways + ofEgress, 200, {
      'Content-Type': contentType,
      'Cache-Control': 'no-store',
    })
  })

  return routes
}

import { Hono } from 'hono'
import type { Principal } from '../access/principal.ts'
import type { AppDeps, AppEnv } from '../app.ts'
import { refusal } from '../errors.ts'

/** What those ask who run the server, and their machines: each at one path, without `/v1`. */
export function operationRoutes({
  settings,
  observation,
}: Pick<AppDeps, 'settings' | 'observation'>): Hono<AppEnv> {
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
    requireOperator(context.get('principal'))
    const { contentType, text } = await metrics.format()
    return context.body(text, 200, { 'Content-Type': contentType, 'Cache-Control': 'no-store' })
  })

  return routes
}

/** The numbers are about all tenants. */
function requireOperator({ name, tenant }: Principal): void {
  if (tenant !== undefined)
    throw refusal(
      'GENERAL::FORBIDDEN',
      `The key "${name}" is a tenant's: the numbers are for the operator's keys, and for the token of metrics.token`,
    )
}

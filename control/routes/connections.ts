import { Hono } from 'hono'
import { connectionsQuerySchema } from '../../lib/api/admin.ts'
import { maySee } from '../access/principal.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { readQuery } from '../body.ts'
import { refusal } from '../errors.ts'

/** What is under way to sandboxes through the gateways of this machine, the oldest first, for admins. */
export function connectionRoutes({ lives, gateways }: Pick<AppDeps, 'lives' | 'gateways'>): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  routes.get('/admin/connections', async (context) => {
    const principal = context.get('principal')
    if (principal.role !== 'admin')
      throw refusal('GENERAL::FORBIDDEN', `The key "${principal.name}" is no key of an admin`)
    const { sandbox, limit } = readQuery(context, connectionsQuerySchema)
    const { connections, leftOut } = (await gateways?.connections()) ?? { connections: [], leftOut: 0 }
    const seen = connections.filter(({ sandboxId }) => {
      if (sandbox !== undefined && sandboxId !== sandbox) return false
      const row = lives.store.get(sandboxId)
      return row !== undefined && maySee(principal, row.tenant)
    })
    // How many gateways have left out is about all tenants.
    const beyond = principal.tenant === undefined && sandbox === undefined ? leftOut : 0
    context.header('Cache-Control', 'no-store')
    return context.json({ items: seen.slice(0, limit), leftOut: Math.max(0, seen.length - limit) + beyond })
  })
  return routes
}

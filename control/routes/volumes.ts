import { type Context, Hono } from 'hono'
import { listQuerySchema } from '../../lib/api/lifecycle.ts'
import { formatPagination, formatTime } from '../../lib/api/lifecycle-parts.ts'
import { type Volume, volumeRequestSchema } from '../../lib/api/volumes.ts'
import { ownTenant } from '../access/principal.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { queryOf, readBody, readQuery } from '../body.ts'
import { createVolume, noVolume, removeVolume } from '../sandbox/named-volumes.ts'
import type { VolumeSize, VolumeSizes } from '../sandbox/volume-sizes.ts'
import type { VolumeName, VolumeRow } from '../store/volumes.ts'
import { readTenant } from './tenant.ts'

const MAX_USERS = 100
/** How long a reader waits for sizes that are not known. */
const SIZE_WAIT_MS = 1500

/** Named volumes by themselves: each tenant's own; the operator's keys name another tenant's by `?tenant=`. */
export function volumeRoutes({ lives }: AppDeps, sizes: VolumeSizes): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  const { volumes } = lives.store

  const format = (context: Context<AppEnv>, row: VolumeRow, size: VolumeSize | undefined): Volume => ({
    name: row.name,
    createdAt: formatTime(row.createdAt),
    ...(row.createdBy !== null && { createdBy: row.createdBy }),
    deleteOnSandboxTermination: row.lifetime === 'with_sandbox',
    usedBy: volumes.users(row.key, MAX_USERS),
    ...(size && { sizeBytes: size.bytes, sizeAt: formatTime(size.at) }),
    ...(context.get('principal').tenant === undefined && { tenant: row.tenant }),
  })
  const named = (context: Context<AppEnv>): VolumeName => ({
    tenant: tenantOf(context),
    name: context.req.param('name') ?? '',
  })

  routes.post('/volumes', async (context) => {
    const { name } = await readBody(context, volumeRequestSchema)
    const row = await createVolume(lives, { tenant: tenantOf(context), name }, context.get('principal').name)
    return context.json(format(context, row, undefined), 201)
  })

  routes.get('/volumes', async (context) => {
    const { page, pageSize } = readQuery(context, listQuerySchema)
    const tenant = queryOf(context).has('tenant') ? tenantOf(context) : context.get('principal').tenant
    const { rows, total } = volumes.list(tenant, { limit: pageSize, offset: (page - 1) * pageSize })
    const found = await sizes.of(
      rows.map(({ key }) => key),
      SIZE_WAIT_MS,
    )
    return context.json({
      items: rows.map((row) => format(context, row, found.get(row.key))),
      pagination: formatPagination(page, pageSize, total),
    })
  })

  routes.get('/volumes/:name', async (context) => {
    const row = volumes.get(named(context))
    if (!row) throw noVolume()
    const found = await sizes.of([row.key], SIZE_WAIT_MS)
    return context.json(format(context, row, found.get(row.key)))
  })

  routes.delete('/volumes/:name', (context) => {
    removeVolume(lives.store, named(context))
    return context.body(null, 204)
  })

  return routes
}

/** Whose volumes a request is about. */
function tenantOf(context: Context<AppEnv>): string {
  const principal = context.get('principal')
  const asked = queryOf(context).get('tenant')
  return asked === null ? ownTenant(principal) : readTenant(principal, asked, ['query', 'tenant'])
}

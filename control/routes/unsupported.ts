import { Hono } from 'hono'
import {
  formatPagination,
  listQuerySchema,
  poolRequestSchema,
  poolUpdateSchema,
  snapshotRequestSchema,
  templateRequestSchema,
} from '../../lib/api/lifecycle.ts'
import type { AppEnv } from '../app.ts'
import { readBody, readQuery } from '../body.ts'
import { refusal } from '../errors.ts'
import type { Lives } from '../sandbox/lives.ts'
import { visibleSandbox } from './visible.ts'

/**
 * What the contract knows and this version does not have: snapshots, pools, templates. Each answers the contract's own code for
 * that, after the checks that come before it there, so that a client sees the same as from a server that lacks them.
 */
export function unsupportedRoutes(lives: Lives): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  const noSnapshot = () => refusal('SNAPSHOT::NOT_FOUND', 'There is no snapshot with this id')
  const noPools = () => refusal('KUBERNETES::POOL_NOT_SUPPORTED', 'This runtime has no pools')
  const noTemplates = () => refusal('FSB::API_NOT_SUPPORTED', 'This runtime has no templates')

  routes.post('/sandboxes/:id/snapshots', async (context) => {
    await readBody(context, snapshotRequestSchema, { optional: true })
    const row = visibleSandbox(context, lives)
    if (row.state !== 'Running')
      throw refusal(
        'SNAPSHOT::INVALID_SOURCE_STATE',
        `Cannot take a snapshot of a sandbox that is ${row.state}`,
      )
    throw refusal('SNAPSHOT::NOT_IMPLEMENTED', 'This runtime takes no snapshots')
  })
  routes.get('/snapshots', (context) => {
    const { page, pageSize } = readQuery(context, listQuerySchema)
    return context.json({ items: [], pagination: formatPagination(page, pageSize, 0) })
  })
  routes.get('/snapshots/:id', () => {
    throw noSnapshot()
  })
  routes.delete('/snapshots/:id', () => {
    throw noSnapshot()
  })

  routes.post('/pools', async (context) => {
    await readBody(context, poolRequestSchema)
    throw noPools()
  })
  routes.put('/pools/:name', async (context) => {
    await readBody(context, poolUpdateSchema)
    throw noPools()
  })
  for (const path of ['/pools', '/pools/:name'])
    routes.get(path, () => {
      throw noPools()
    })
  routes.delete('/pools/:name', () => {
    throw noPools()
  })

  routes.post('/templates', async (context) => {
    await readBody(context, templateRequestSchema)
    throw noTemplates()
  })
  routes.get('/templates', (context) => {
    readQuery(context, listQuerySchema)
    throw noTemplates()
  })
  for (const method of ['GET', 'DELETE'])
    routes.on(method, '/templates/:id', () => {
      throw noTemplates()
    })
  return routes
}

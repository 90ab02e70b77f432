import { Hono } from 'hono'
import { listQuerySchema } from '../../lib/api/lifecycle.ts'
import { formatPagination } from '../../lib/api/lifecycle-parts.ts'
import { snapshotRequestSchema } from '../../lib/api/snapshots.ts'
import type { AppEnv } from '../app-deps.ts'
import { readBody, readQuery } from '../body.ts'
import { refusal } from '../errors.ts'
import type { Lives } from '../sandbox/lives.ts'
import { visibleSandbox } from './visible.ts'

/**
 * What the contract knows and this version does not have: snapshots. It answers the contract's own code for
 * that, after the checks that come before it there, so that a client sees the same as from a server that lacks them.
 */
export function unsupportedRoutes(lives: Lives): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  const noSnapshot = () => refusal('SNAPSHOT::NOT_FOUND', 'There is no snapshot with this id')

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

  return routes
}

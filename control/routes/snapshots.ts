import { type Context, Hono } from 'hono'
import { formatPagination } from '../../lib/api/lifecycle-parts.ts'
import {
  type Forked,
  forkRequestSchema,
  SNAPSHOT_STATES,
  type SnapshotList,
  snapshotQuerySchema,
  snapshotRequestSchema,
} from '../../lib/api/snapshots.ts'
import { maySee } from '../access/principal.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { settlesWithin } from '../async.ts'
import { queryOf, readBody, readQuery } from '../body.ts'
import { formatCreated } from '../sandbox/format.ts'
import { forkSandbox } from '../snapshots/fork.ts'
import { formatSnapshot } from '../snapshots/format.ts'
import { noSnapshot } from '../snapshots/refuse.ts'
import { acceptDeletion, acceptSnapshot } from '../snapshots/take.ts'
import type { SnapshotRow } from '../store/snapshots.ts'
import { tellWarnings } from './tell-warnings.ts'
import { visibleSandbox } from './visible.ts'

/** Snapshots (contract: lifecycle.md 3.5, v1.1.md 1.7), and forks, which are an addition. */
export function snapshotRoutes({ lives, pooling }: AppDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  const { deps, snapshotKeeper: keeper } = pooling
  const { snapshots } = deps

  const named = (context: Context<AppEnv>): SnapshotRow => {
    const row = snapshots.get(context.req.param('id') ?? '')
    if (!row || row.hidden || !maySee(context.get('principal'), row.tenant)) throw noSnapshot()
    return row
  }

  routes.post('/sandboxes/:id/snapshots', async (context) => {
    const { name, metadata } = await readBody(context, snapshotRequestSchema, { optional: true })
    const source = visibleSandbox(context, lives)
    const row = acceptSnapshot(deps, source, {
      createdBy: context.get('principal').name,
      ...(name !== undefined && { name }),
      ...(metadata && { metadata }),
    })
    keeper.wake()
    // With the version, however it was asked for (contract: lifecycle.md 8).
    context.header('Location', `/v1/snapshots/${row.id}`)
    return context.json(formatSnapshot(row), 202)
  })

  routes.post('/sandboxes/:id/fork', async (context) => {
    const request = await readBody(context, forkRequestSchema, { optional: true })
    const source = visibleSandbox(context, lives)
    const owner = { tenant: source.tenant, createdBy: context.get('principal').name }
    const caller = context.req.raw.signal
    const { rows, warnings } = await forkSandbox({ ...deps, keeper }, { source, request, owner, caller })
    tellWarnings(context, warnings)
    const forked: Forked = { items: rows.map(formatCreated) }
    return context.json(forked, 202)
  })

  routes.get('/snapshots', (context) => {
    const { page, pageSize, sandboxId, name } = readQuery(context, snapshotQuerySchema)
    const wanted = queryOf(context).getAll('state')
    const { tenant } = context.get('principal')
    const { rows, total } = snapshots.list({
      ...(tenant !== undefined && { tenant }),
      ...(sandboxId !== undefined && { sandboxId }),
      ...(name !== undefined && { name }),
      // As they are written: `ready` is no state (contract: lifecycle.md 2.3).
      ...(wanted.length > 0 && { states: SNAPSHOT_STATES.filter((state) => wanted.includes(state)) }),
      limit: pageSize,
      offset: (page - 1) * pageSize,
    })
    const list: SnapshotList = {
      items: rows.map(formatSnapshot),
      pagination: formatPagination(page, pageSize, total),
    }
    return context.json(list)
  })

  routes.get('/snapshots/:id', (context) => context.json(formatSnapshot(named(context))))

  routes.delete('/snapshots/:id', async (context) => {
    const { id } = named(context)
    acceptDeletion(deps, id)
    const removal = keeper.remove(id)
    // What takes longer goes on by itself, as the row says so.
    if (await settlesWithin(removal, lives.settings.deleteAnswerMs)) await removal
    else removal.catch(() => {})
    return context.body(null, 204)
  })

  return routes
}

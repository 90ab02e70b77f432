import { Hono } from 'hono'
import {
  createRequestSchema,
  listQuerySchema,
  metadataPatchSchema,
  renewRequestSchema,
  SANDBOX_STATES,
  type SandboxList,
} from '../../lib/api/lifecycle.ts'
import { formatPagination, formatTime } from '../../lib/api/lifecycle-parts.ts'
import { ownTenant } from '../access/principal.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { invalid, queryOf, readBody, readQuery } from '../body.ts'
import { fulfilCreate } from '../pools/fulfil.ts'
import {
  changeMetadata,
  deleteSandbox,
  pauseSandbox,
  renewSandbox,
  resumeSandbox,
} from '../sandbox/change.ts'
import type { Owner } from '../sandbox/create.ts'
import { formatSandbox } from '../sandbox/format.ts'
import { parseMetadataFilter } from '../sandbox/metadata.ts'
import { parseMoment } from '../sandbox/moment.ts'
import { answerOf, type CreateAnswer, markOf, parseIdempotencyKey } from '../sandbox/once.ts'
import type { SandboxRow } from '../store/rows.ts'
import { fitWarnings, tellWarnings } from './tell-warnings.ts'
import { visibleSandbox } from './visible.ts'

/** The life of sandboxes (contract: lifecycle.md 2 and 3). */
export function sandboxRoutes({ lives, pooling, once }: AppDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  const shown = (row: SandboxRow) => formatSandbox(lives.progress.shown(row))

  routes.post('/sandboxes', async (context) => {
    const request = await readBody(context, createRequestSchema)
    const principal = context.get('principal')
    const owner = { tenant: ownTenant(principal), createdBy: principal.name }
    const create = async (by: Owner, caller: AbortSignal) => {
      const { row, warnings } = await fulfilCreate(pooling.deps, request, by, caller)
      for (const what of fitWarnings(warnings))
        lives.log.warn('accepted without effect', { sandbox: row.id, what })
      return answerOf(row, warnings)
    }
    const header = context.req.header('idempotency-key')
    let answer: CreateAnswer
    if (header === undefined) answer = await create(owner, context.req.raw.signal)
    else {
      const mark = markOf(parseIdempotencyKey(header), request)
      // Who has sent a key comes back with it, so what was begun goes on without them.
      const found = await once.answer(lives, { tenant: owner.tenant, mark }, () =>
        create({ ...owner, mark }, new AbortController().signal),
      )
      if (found.isReplayed) context.header('Idempotent-Replayed', 'true')
      answer = found
    }
    const prefix = context.req.path.startsWith('/v1/') ? '/v1' : ''
    context.header('Location', `${prefix}/sandboxes/${answer.id}`)
    tellWarnings(context, answer.warnings)
    return context.body(answer.body, 202, { 'Content-Type': 'application/json' })
  })

  routes.get('/sandboxes', (context) => {
    const { page, pageSize } = readQuery(context, listQuerySchema)
    const query = queryOf(context)
    const wanted = query.getAll('state').map((state) => state.toLowerCase())
    const metadata = query.get('metadata')
    const { tenant } = context.get('principal')
    const { rows, total } = lives.store.list({
      ...(tenant !== undefined && { tenant }),
      ...(wanted.length > 0 && {
        states: SANDBOX_STATES.filter((state) => wanted.includes(state.toLowerCase())),
      }),
      ...(metadata !== null && { labels: parseMetadataFilter(metadata) }),
      limit: pageSize,
      offset: (page - 1) * pageSize,
    })
    const list: SandboxList = {
      items: rows.map(shown),
      pagination: formatPagination(page, pageSize, total),
    }
    return context.json(list)
  })

  routes.get('/sandboxes/:id', (context) => context.json(shown(visibleSandbox(context, lives))))

  routes.delete('/sandboxes/:id', async (context) => {
    await deleteSandbox(lives, visibleSandbox(context, lives).id)
    return context.body(null, 204)
  })

  routes.patch('/sandboxes/:id/metadata', async (context) => {
    const patch = await readBody(context, metadataPatchSchema)
    return context.json(shown(changeMetadata(lives, visibleSandbox(context, lives).id, patch)))
  })

  // An empty answer says its length, or the JavaScript SDK tries to read JSON from it (contract: clients.md rule 7).
  const empty = { 'Content-Length': '0' }
  routes.post('/sandboxes/:id/pause', async (context) => {
    await pauseSandbox(lives, visibleSandbox(context, lives).id)
    return context.body(null, 202, empty)
  })
  routes.post('/sandboxes/:id/resume', async (context) => {
    await resumeSandbox(lives, visibleSandbox(context, lives).id)
    return context.body(null, 202, empty)
  })

  routes.post('/sandboxes/:id/renew-expiration', async (context) => {
    const { expiresAt } = await readBody(context, renewRequestSchema)
    const moment = parseMoment(expiresAt)
    if (moment === undefined)
      throw invalid([
        {
          type: 'datetime_parsing',
          loc: ['body', 'expiresAt'],
          msg: 'must be a date and time such as "2026-01-02T03:04:05Z", or seconds since 1970',
        },
      ])
    return context.json({
      expiresAt: formatTime(renewSandbox(lives, visibleSandbox(context, lives).id, moment)),
    })
  })

  return routes
}

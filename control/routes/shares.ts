import { Hono } from 'hono'
import { hashKey } from '../../lib/access.ts'
import { EGRESS_PORT, EXECD_PORT } from '../../lib/api/guest.ts'
import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import {
  DEFAULT_SHARE_SECONDS,
  MAX_SHARE_SECONDS,
  MAX_SHARES,
  type SHARE_METHODS,
  type ShareAnswer,
  type ShareRequest,
  shareRequestSchema,
} from '../../lib/api/shares.ts'
import { createShareId, createToken } from '../../lib/id.ts'
import { formatShareToken, SHARE_PARAMETER } from '../../lib/share-link.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { invalid, readBody } from '../body.ts'
import { formatPortUrl } from '../endpoint.ts'
import { refusal } from '../errors.ts'
import { publicHost } from '../public-host.ts'
import type { ShareRow } from '../store/shares.ts'
import { visibleSandbox } from './visible.ts'

/** Links that open one port of a sandbox that is closed to others. */
export function shareRoutes({ lives, settings, trustForwarded }: AppDeps): Hono<AppEnv> {
  const { now } = lives
  const { shares } = lives.store
  const routes = new Hono<AppEnv>()

  routes.post('/sandboxes/:id/shares', async (context) => {
    const asked = await readBody(context, shareRequestSchema)
    const sandbox = visibleSandbox(context, lives)
    if (sandbox.accessToken === null)
      throw refusal(
        'GENERAL::CONFLICT',
        'The sandbox was made without secureAccess: whoever knows its address may come in, and there is nothing to share',
      )
    if (asked.port === EXECD_PORT || asked.port === EGRESS_PORT)
      throw refusal(
        'SANDBOX::INVALID_PARAMETER',
        `port must not be ${asked.port}: what is there opens to its own token alone`,
      )
    const at = now()
    const secret = createToken()
    const row: ShareRow = {
      id: createShareId(),
      sandboxId: sandbox.id,
      name: asked.name ?? null,
      port: asked.port,
      hash: hashKey(secret),
      path: asked.path ?? null,
      methods: asked.methods ?? null,
      once: asked.once ?? false,
      usedAt: null,
      expiresAt: endOf(asked, at),
      createdAt: at,
      createdBy: context.get('principal').name,
    }
    if (!shares.insert(row, MAX_SHARES))
      throw refusal('GENERAL::CONFLICT', `A sandbox has at most ${MAX_SHARES} links: revoke one`)
    const token = formatShareToken({ id: row.id, secret })
    const url = formatPortUrl({
      settings,
      host: publicHost(context, trustForwarded),
      scheme: trustForwarded && context.req.header('x-forwarded-proto') === 'https' ? 'https' : 'http',
      id: sandbox.id,
      port: row.port,
    })
    const answer = { ...formatShare(row), token, url: `${url}${row.path ?? '/'}?${SHARE_PARAMETER}=${token}` }
    context.header('Cache-Control', 'no-store')
    return context.json(answer, 201)
  })

  routes.get('/sandboxes/:id/shares', (context) =>
    context.json({ items: shares.of(visibleSandbox(context, lives).id).map(formatShare) }),
  )

  routes.delete('/sandboxes/:id/shares/:share', (context) => {
    if (!shares.revoke(visibleSandbox(context, lives).id, context.req.param('share')))
      throw refusal('GENERAL::NOT_FOUND', 'There is no link with this id')
    return context.body(null, 204)
  })

  return routes
}

function endOf({ ttlSeconds, expiresAt }: ShareRequest, now: number): number {
  if (expiresAt === undefined) return now + (ttlSeconds ?? DEFAULT_SHARE_SECONDS) * 1000
  const end = Date.parse(expiresAt)
  if (end > now && end <= now + MAX_SHARE_SECONDS * 1000) return end
  const msg = `must lie in the future, and at most ${MAX_SHARE_SECONDS} seconds ahead`
  throw invalid([{ type: 'value_error', loc: ['body', 'expiresAt'], msg }])
}

function formatShare({ id, sandboxId, port, name, path, methods, once, ...row }: ShareRow): ShareAnswer {
  return {
    id,
    sandboxId,
    port,
    ...(name !== null && { name }),
    ...(path !== null && { path }),
    ...(methods && { methods: methods as (typeof SHARE_METHODS)[number][] }),
    once,
    ...(row.usedAt !== null && { usedAt: formatTime(row.usedAt) }),
    expiresAt: formatTime(row.expiresAt),
    createdAt: formatTime(row.createdAt),
    ...(row.createdBy !== null && { createdBy: row.createdBy }),
  }
}

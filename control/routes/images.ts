import { type Context, Hono } from 'hono'
import {
  collectRequestSchema,
  type ImageBody,
  type ImagePullBody,
  pullRequestSchema,
} from '../../lib/api/images.ts'
import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { settlesWithin } from '../async.ts'
import { readBody } from '../body.ts'
import { refusal, refusalOfStart } from '../errors.ts'
import type { KeepLimits } from '../image/collect.ts'
import type { ImageKeeper, Pull } from '../image/keeper.ts'
import type { StoredImage } from '../runtime/images.ts'
import { requireOperator } from './tenant.ts'

const HOUR_MS = 3_600_000

/** The images of the machine, which all tenants share: for the operator's admins alone. */
export function imageRoutes({ lives, images }: Pick<AppDeps, 'lives' | 'images'>): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()

  const keeperFor = (context: Context<AppEnv>): ImageKeeper => {
    const principal = context.get('principal')
    if (principal.role !== 'admin')
      throw refusal('GENERAL::FORBIDDEN', `The key "${principal.name}" is no key of an admin`)
    requireOperator(principal, "the images of the machine are the operator's")
    if (!images)
      throw refusal('SANDBOX::API_NOT_SUPPORTED', 'This runtime keeps no images that could be managed here')
    return images
  }

  routes.get('/admin/images', async (context) => {
    const keeper = keeperFor(context)
    const found = await keeper.images.list(context.req.raw.signal)
    return context.json({
      items: found.map(formatImage),
      pulls: keeper.pulls().map(formatPull),
      totalBytes: found.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    })
  })

  routes.post('/admin/images', async (context) => {
    const keeper = keeperFor(context)
    const { image, policy, shared } = await readBody(context, pullRequestSchema)
    const { auth } = image
    const { pull, done } = keeper.pull({
      uri: image.uri.trim(),
      ...(auth && { auth: { username: auth.username, password: auth.password } }),
      ...(policy && { policy }),
      isShared: shared,
    })
    if (!(await settlesWithin(done, lives.settings.createAnswerMs)))
      return context.json(formatPull(pull), 202)
    const pulled = await done.catch((error) => {
      throw refusalOfStart(error)
    })
    return context.json(formatImage(pulled), 201)
  })

  routes.delete('/admin/images/:id', async (context) => {
    const keeper = keeperFor(context)
    const removal = await keeper.images.remove(context.req.param('id'), context.req.raw.signal)
    if (removal === 'absent') throw refusal('GENERAL::NOT_FOUND', 'There is no image with this id')
    if (removal === 'in_use')
      throw refusal(
        'GENERAL::CONFLICT',
        'The image is needed by a sandbox, by one that is being made, or by what was made of it',
      )
    return context.body(null, 204)
  })

  routes.post('/admin/images-gc', async (context) => {
    const keeper = keeperFor(context)
    const asked = await readBody(context, collectRequestSchema, { optional: true })
    const limits: KeepLimits = {
      ...(asked.maxAgeHours === undefined && asked.maxBytes === undefined && keeper.limits),
      ...(asked.maxAgeHours !== undefined && { maxAgeMs: asked.maxAgeHours * HOUR_MS }),
      ...(asked.maxBytes !== undefined && { maxBytes: asked.maxBytes }),
    }
    if (limits.maxAgeMs === undefined && limits.maxBytes === undefined)
      throw refusal(
        'SANDBOX::INVALID_PARAMETER',
        'maxAgeHours or maxBytes is required, as the configuration has neither runtime.image_max_age_hours nor runtime.image_max_bytes',
      )
    const { removed, totalBytes } = await keeper.collect(limits, context.req.raw.signal)
    return context.json({
      removed: removed.map(formatImage),
      freedBytes: removed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      totalBytes,
    })
  })

  return routes
}

function formatImage(image: StoredImage): ImageBody {
  const { id, references, digest, origin, sizeBytes, isShared, createdAt, lastUsedAt, users } = image
  return {
    id,
    references,
    ...(digest !== undefined && { digest }),
    origin,
    sizeBytes,
    shared: isShared,
    createdAt: formatTime(createdAt),
    lastUsedAt: formatTime(lastUsedAt),
    users,
  }
}

function formatPull({ uri, state, message, startedAt }: Pull): ImagePullBody {
  return { uri, state, ...(message !== undefined && { message }), startedAt: formatTime(startedAt) }
}

// The routes feed as HTTP, for gateways on this machine (lib/api/routes-feed.ts). The socket's file mode is its guard.

import { Hono } from 'hono'
import { stream } from 'hono/streaming'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { z } from 'zod'
import { API_KEY_HEADER } from '../lib/access.ts'
import { type ActivityAnswer, CLIENT_HEADER, MAX_REPORTS, type RedeemAnswer } from '../lib/api/routes-feed.ts'
import { ApiError } from '../lib/errors.ts'
import type { GivenKey } from './access/require-key.ts'
import { readBody } from './body.ts'
import { refusal } from './errors.ts'
import type { RoutesFeed } from './routes-feed.ts'
import type { Activity } from './sandbox/activity.ts'

const activityRequest = z.object({
  sandboxes: z.array(z.object({ id: z.string().max(100), ageMs: z.number().min(0) })).max(MAX_REPORTS),
})

export type FeedAppDeps = {
  feed: RoutesFeed
  activity: Pick<Activity, 'record'>
  /** Throws ApiError when traffic with this key may not reach the sandbox. */
  checkKey: (id: string, given: GivenKey) => Promise<void>
  /** Lets a paused sandbox go on. Throws ApiError when it cannot. */
  wake: (id: string) => Promise<void>
  /** Uses up a link that opens once, and returns what opens from then on; undefined when it does not open any more. */
  redeem: (id: string, hash: string) => string | undefined
  stopped: AbortSignal
}

const redeemRequest = z.object({ hash: z.string().max(100) })

export function createFeedApp({ feed, activity, checkKey, wake, redeem, stopped }: FeedAppDeps): Hono {
  const app = new Hono()
  app.get('/routes', (context) => {
    const epoch = context.req.query('epoch')
    const since = Number(context.req.query('since') ?? Number.NaN)
    const left = new AbortController()
    const signal = AbortSignal.any([stopped, left.signal])
    context.header('Content-Type', 'application/x-ndjson')
    context.header('Cache-Control', 'no-store')
    const from = { ...(epoch !== undefined && { epoch }), ...(Number.isSafeInteger(since) && { since }) }
    // Writing waits until the reader has taken what came before, so a slow one holds back only its own place in the log.
    return stream(context, async (output) => {
      output.onAbort(() => left.abort())
      for await (const events of feed.read(from, signal))
        await output.write(events.map((event) => `${JSON.stringify(event)}\n`).join(''))
    })
  })
  app.get('/routes/:id', (context) => {
    const route = feed.get(context.req.param('id'))
    return route
      ? context.json(route)
      : context.json({ code: 'DOCKER::SANDBOX_NOT_FOUND', message: 'There is no sandbox with this id' }, 404)
  })
  app.post('/activity', async (context) => {
    const { sandboxes } = await readBody(context, activityRequest)
    activity.record(sandboxes)
    return context.json({ epoch: feed.epoch } satisfies ActivityAnswer)
  })
  app.get('/access/:id', async (context) => {
    await checkKey(context.req.param('id'), {
      key: context.req.header(API_KEY_HEADER),
      from: context.req.header(CLIENT_HEADER),
    })
    return context.body(null, 204)
  })
  app.post('/wake/:id', async (context) => {
    await wake(context.req.param('id'))
    return context.body(null, 204)
  })
  app.post('/shares/:id/redeem', async (context) => {
    const { hash } = await readBody(context, redeemRequest)
    const secret = redeem(context.req.param('id'), hash)
    if (secret === undefined) throw refusal('GENERAL::NOT_FOUND', 'This link does not open anything')
    return context.json({ secret } satisfies RedeemAnswer)
  })
  app.onError((error, context) => {
    const told =
      error instanceof ApiError ? error : refusal('GENERAL::UNKNOWN_ERROR', 'It could not be written down')
    return context.json(told.body(), told.status as ContentfulStatusCode)
  })
  app.get('/healthz', (context) => context.text('ok'))
  return app
}

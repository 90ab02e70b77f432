// One tenant cannot keep the others, or an operator, from the API by requests that do not end.

import { Hono } from 'hono'
import { expect, onTestFinished, test } from 'vitest'
import { shareFairly } from '../../../control/access/fair-share.ts'
import type { AppEnv } from '../../../control/app-deps.ts'
import { ApiError } from '../../../lib/errors.ts'
import { createControlApp, MINIMAL } from '../../support/control-app.ts'

const keyHeader = (key: string) => ({ host: 'localhost:8080', 'open-sandbox-api-key': key })

function open() {
  const control = createControlApp({ access: { apiKey: 'root-key' } })
  onTestFinished(control.close)
  const get = (path: string, key: string) =>
    control.app.request(`http://localhost${path}`, { headers: keyHeader(key) })
  const makeKey = async (tenant: string, role = 'read-only') => {
    const request = { name: tenant, role, tenant }
    const made = await control.call('POST', '/v1/admin/keys', request, keyHeader('root-key'))
    return String(made.body.key)
  }
  return { control, get, makeKey }
}

test('a tenant has so many streams and no more, and nobody else has fewer for that', async () => {
  const { get, makeKey } = open()
  const [red, blue] = [await makeKey('red'), await makeKey('blue')]
  const streams: Response[] = []
  for (;;) {
    const answer = await get('/v1/events', red)
    if (answer.status !== 200) {
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '1'])
      expect(await answer.json()).toEqual({
        code: 'GENERAL::TOO_MANY_REQUESTS',
        message: 'Tenant "red" has 128 streams of events, and may have no more',
      })
      break
    }
    streams.push(answer)
    expect(streams.length).toBeLessThan(1024)
  }
  expect(streams).toHaveLength(128)
  expect((await get('/v1/sandboxes', red)).status).toBe(200)
  expect((await get('/v1/events', blue)).status).toBe(200)
  expect((await get('/v1/events', 'root-key')).status).toBe(200)

  await streams[0]?.body?.cancel()
  await expect.poll(async () => (await get('/v1/events', red)).status).toBe(200)
})

test('a tenant has so many requests under way and no more, and nobody else has fewer for that', async () => {
  const { control, get, makeKey } = open()
  const red = await makeKey('red', 'member')
  const make = () => control.call('POST', '/v1/sandboxes', MINIMAL, keyHeader(red))
  const held = Promise.withResolvers<void>()
  control.runtime.before = (call) => (call === 'create' ? held.promise : undefined)
  const creates = Array.from({ length: 512 }, make)
  await expect.poll(() => control.store.all().length).toBe(512)
  expect(await make()).toMatchObject({
    status: 429,
    body: { message: 'Tenant "red" has 512 requests under way, and may have no more' },
  })
  expect((await get('/v1/sandboxes', await makeKey('blue'))).status).toBe(200)
  expect((await get('/health', red)).status).toBe(200)
  held.resolve()
  expect(new Set((await Promise.all(creates)).map(({ status }) => status))).toEqual(new Set([202]))
  expect((await get('/v1/sandboxes', red)).status).toBe(200)
})

test('requests that have been answered, refused or have failed count no more', async () => {
  const app = new Hono<AppEnv>()
  app.use((context, next) => {
    context.set('principal', { name: 'ci', role: 'member', tenant: 'red' })
    return next()
  })
  app.use(shareFairly({ maxOfTenant: 1 }))
  app.get('/ok', (context) => context.text('ok'))
  app.get('/fault', () => {
    throw new Error('a fault')
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  app.get('/slow', async (context) => {
    await promise
    return context.text('ok')
  })
  app.onError((error, context) => context.text('', error instanceof ApiError ? 429 : 500))
  const status = async (path: string) => (await app.request(path)).status
  expect([
    await status('/ok'),
    await status('/fault'),
    await status('/nowhere'),
    await status('/ok'),
  ]).toEqual([200, 500, 404, 200])
  const slow = app.request('/slow')
  expect(await status('/ok')).toBe(429)
  resolve()
  expect((await slow).status).toBe(200)
  expect(await status('/ok')).toBe(200)
})

test('streams of all together have a bound, also those of the operator', async () => {
  const app = new Hono<AppEnv>()
  app.use(shareFairly({ maxStreams: 2 }))
  const cancelled: number[] = []
  let made = 0
  app.get('/events', () => {
    const number = ++made
    const body = new ReadableStream({ cancel: () => void cancelled.push(number) })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  })
  app.onError((error, context) => context.text('', error instanceof ApiError ? 429 : 500))
  const first = await app.request('/events')
  expect([
    first.status,
    (await app.request('/events')).status,
    (await app.request('/events')).status,
  ]).toEqual([200, 200, 429])
  expect(cancelled).toEqual([3])
  await first.body?.cancel()
  await expect.poll(async () => (await app.request('/events')).status).toBe(200)
})

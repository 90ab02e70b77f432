// What passes through control itself, when no gateway stands before it, counts as what passes through a gateway does.

import { createServer, request, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createFeedApp } from '../../control/feed-app.ts'
import { createSandboxProxy } from '../../control/routes/proxy.ts'
import { ProxyTraffic } from '../../control/routes/proxy-traffic.ts'
import { type ActivityReport, MAX_REPORTS, type Route } from '../../lib/api/routes-feed.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { createControlApp } from '../support/control-app.ts'
import { sandboxRow } from '../support/sandbox-row.ts'
import { waitFor } from '../support/wait-for.ts'

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** A proxy before an app that answers, streams and takes WebSockets; sandbox `a` wants its traffic counted, `b` does not. */
async function open() {
  const reports: ActivityReport[] = []
  const app = createServer((_, response) => response.write('first'))
  const upgraded: Socket[] = []
  app.on('upgrade', (_, socket: Socket) => {
    upgraded.push(socket)
    onTestFinished(() => void socket.destroy())
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  const appPort = await listen(app)
  const route: Route = { id: 'a', state: 'running', address: '127.0.0.1', generation: 1, countsTraffic: true }
  const { countsTraffic: _, ...plain } = route
  const routes: Record<string, Route> = { a: route, b: { ...plain, id: 'b' } }
  const feed = { get: (id: string) => routes[id], onChange: () => {} }
  const activity = { record: (told: readonly ActivityReport[]) => void reports.push(...told) }
  const traffic = new ProxyTraffic({ feed, activity, collectMs: 10 })
  const proxy = createSandboxProxy({ feed, log: createSilentLogger(), traffic })
  const server = createServer((incoming, outgoing) => proxy.forward(incoming, outgoing))
  proxy.attach(server)
  const port = await listen(server)
  const path = (id: string) => `/sandboxes/${id}/proxy/${appPort}/`
  return { port, path, reports, app, upgraded }
}

/** Reports that have come once no more do. */
async function settled(reports: ActivityReport[]): Promise<number> {
  let before = -1
  await waitFor(
    () => {
      const isQuiet = before === reports.length
      before = reports.length
      expect(isQuiet).toBe(true)
    },
    { interval: 60 },
  )
  return before
}

test('a request counts, and its answer for as long as it flows', async () => {
  const { port, path, reports, app } = await open()
  const streams: ServerResponse[] = []
  app.on('request', (_, response) => streams.push(response))
  for (const id of ['b', 'a']) {
    const asked = request({ port, path: path(id), host: '127.0.0.1' })
    onTestFinished(() => void asked.destroy())
    asked.end()
    await new Promise((resolve) => asked.once('response', (answer) => answer.once('data', resolve)))
  }
  expect(reports[0]).toEqual({ id: 'a', ageMs: 0 })
  const silent = await settled(reports)
  streams[1]?.write('more')
  await waitFor(() => expect(reports.length).toBeGreaterThan(silent))
  streams[0]?.write('more')
  streams[1]?.end()
  const ended = await settled(reports)
  streams[0]?.write('again')
  expect(await settled(reports)).toBe(ended)
  expect(new Set(reports.map(({ id }) => id))).toEqual(new Set(['a']))
})

test('a request that says skip does not count', async () => {
  const { port, path, reports } = await open()
  const headers = { 'opensandbox-access-renew': 'skip' }
  const asked = request({ port, path: path('a'), host: '127.0.0.1', headers })
  onTestFinished(() => void asked.destroy())
  asked.end()
  await new Promise((resolve) => asked.once('response', (answer) => answer.once('data', resolve)))
  expect(await settled(reports)).toBe(0)
})

test('L19: a WebSocket counts for as long as it carries bytes', async () => {
  const { port, path, reports, upgraded } = await open()
  const client = connect(port, '127.0.0.1')
  onTestFinished(() => void client.destroy())
  client.write(
    `GET ${path('a')} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  )
  await new Promise((resolve) => client.once('data', resolve))
  const silent = await settled(reports)
  expect(silent).toBeGreaterThan(0)
  upgraded[0]?.write('from the sandbox')
  await waitFor(() => expect(reports.length).toBeGreaterThan(silent))
  const again = await settled(reports)
  client.write('from the client')
  await waitFor(() => expect(reports.length).toBeGreaterThan(again))
  client.destroy()
  await settled(reports)
})

test('gateways tell of traffic on the feed socket, in requests of bounded size and sense', async () => {
  const now = Date.UTC(2026, 0, 1)
  const control = createControlApp({ now: () => now })
  onTestFinished(control.close)
  control.store.insert(sandboxRow({ id: 'a', renewSeconds: 300, expiresAt: now + 10_000 }))
  const feed = { epoch: 'one' } as Parameters<typeof createFeedApp>[0]['feed']
  const stopped = new AbortController().signal
  const app = createFeedApp({
    feed,
    activity: control.lives.activity,
    checkKey: async () => {},
    wake: async () => {},
    redeem: () => undefined,
    stopped,
  })
  const post = (body: unknown) =>
    app.request('/activity', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  const told = await post({
    sandboxes: [
      { id: 'a', ageMs: 1000 },
      { id: 'nobody', ageMs: 0 },
    ],
  })
  expect([told.status, await told.json()]).toEqual([200, { epoch: 'one' }])
  expect(control.store.get('a')?.expiresAt).toBe(now + 299_000)
  const many = Array.from({ length: MAX_REPORTS + 1 }, () => ({ id: 'a', ageMs: 0 }))
  for (const wrong of [
    {},
    { sandboxes: many },
    { sandboxes: [{ id: 'a', ageMs: -1 }] },
    { sandboxes: [{ id: 1, ageMs: 0 }] },
  ])
    expect((await post(wrong)).status).toBe(422)
  expect(control.store.get('a')?.expiresAt).toBe(now + 299_000)
})

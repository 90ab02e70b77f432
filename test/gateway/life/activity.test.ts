// Which sandboxes had traffic: what the gateway notes of it, and how control comes to know.

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ActivityLog, ActivityReporter } from '../../../gateway/life/activity.ts'
import type { ActivityRequest } from '../../../lib/api/routes-feed.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { waitFor } from '../../support/wait-for.ts'
import { dial, exchange, head, startAnswering, startGateway, startRaw } from '../support.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const COUNTS = { countsTraffic: true as const }

/** A gateway whose notes the test sees. */
async function startNoting() {
  const touched: string[] = []
  const forgotten: string[] = []
  const activity = {
    touch: (id: string) => void touched.push(id),
    forget: (id: string) => void forgotten.push(id),
  }
  return { gateway: await startGateway({ activity }), touched, forgotten }
}

test('a request counts for a sandbox that wants it, and for no other', async () => {
  const { gateway, touched } = await startNoting()
  const { port } = await startAnswering(OK)
  gateway.routes.put('a', port, COUNTS)
  gateway.routes.put('b', port)
  await exchange(gateway.port, head('GET /', 'Connection: close'))
  expect(touched).toEqual(['a'])
  await exchange(gateway.port, head('GET /', 'Connection: close').replace('a-8000', 'b-8000'))
  await exchange(gateway.port, 'GET /status.ok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  expect(touched).toEqual(['a'])
})

test.each([
  ['skip', 0],
  ['Skip', 1],
  ['no', 1],
])('OpenSandbox-Access-Renew: %s counts %i times, and goes no further', async (value, count) => {
  const { gateway, touched } = await startNoting()
  const answering = await startAnswering((request) =>
    request.toLowerCase().includes('access-renew') ? 'HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n' : OK,
  )
  gateway.routes.put('a', answering.port, COUNTS)
  const answer = await exchange(
    gateway.port,
    head('GET /', `OpenSandbox-Access-Renew: ${value}`, 'Connection: close'),
  )
  expect(answer).toContain('200 OK')
  expect(touched).toHaveLength(count)
})

test('what is refused does not count', async () => {
  const { gateway, touched } = await startNoting()
  gateway.routes.put('a', 1, { ...COUNTS, state: 'paused', ports: {} })
  expect(await exchange(gateway.port, head('GET /', 'Connection: close'))).toMatch(/^HTTP\/1.1 [45]/)
  expect(touched).toEqual([])
})

test('L19: a WebSocket counts for as long as it carries bytes, either way, and not while it is silent', async () => {
  const { gateway, touched } = await startNoting()
  const server = await startRaw()
  gateway.routes.put('a', server.port, COUNTS)
  const client = dial(gateway.port).send(head('GET /', 'Connection: Upgrade', 'Upgrade: websocket'))
  const peer = await server.peer(0)
  await peer.read('\r\n\r\n')
  peer.send('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  await client.read('\r\n\r\n')
  // What was sent until now is noted first.
  await waitFor(() => expect(touched.length).toBeGreaterThan(1))
  for (const [from, to] of [
    [client, peer],
    [peer, client],
  ] as const) {
    const before = touched.length
    to.take()
    from.send('bytes')
    await to.read('bytes')
    await waitFor(() => expect(touched.length).toBeGreaterThan(before))
  }
  // Of another sandbox it is seen when a look was taken; nothing passed here meanwhile.
  const { port } = await startRaw((other) => other.send('HTTP/1.1 200 OK\r\n\r\n'))
  gateway.routes.put('b', port, COUNTS)
  const stream = dial(gateway.port).send(head('GET /').replace('a-8000', 'b-8000'))
  await stream.read('200 OK')
  const silent = touched.filter((id) => id === 'a').length
  await waitFor(() => expect(touched.filter((id) => id === 'b').length).toBeGreaterThan(1))
  expect(touched.filter((id) => id === 'a')).toHaveLength(silent)
})

test('a stream that is answered counts while it flows, a kept connection without a request does not', async () => {
  const { gateway, touched } = await startNoting()
  const server = await startRaw()
  gateway.routes.put('a', server.port, COUNTS)
  const client = dial(gateway.port).send(head('GET /'))
  const peer = await server.peer(0)
  await peer.read('\r\n\r\n')
  peer.send('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n1234')
  await client.read('1234')
  await waitFor(() => expect(touched.length).toBeGreaterThan(1))
  peer.send('5678')
  await client.read('5678')
  gateway.routes.put('b', server.port, COUNTS)
  const before = touched.length
  // Bytes of a request for control pass on the same connection.
  client.send('GET /status.ok HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await client.read('OK')
  const stream = dial(gateway.port).send(head('GET /').replace('a-8000', 'b-8000'))
  const other = await server.peer(1)
  other.send('HTTP/1.1 200 OK\r\n\r\n')
  await stream.read('200 OK')
  await waitFor(() => expect(touched.filter((id) => id === 'b').length).toBeGreaterThan(1))
  expect(touched.slice(before)).not.toContain('a')
})

test('a sandbox that goes, or wants it no more, is forgotten', async () => {
  const { gateway, forgotten } = await startNoting()
  gateway.routes.put('a', 1, COUNTS)
  gateway.routes.put('b', 1, COUNTS)
  expect(forgotten).toEqual([])
  gateway.routes.put('a', 1)
  gateway.routes.delete('b')
  expect(forgotten).toEqual(['a', 'b'])
})

test('ActivityLog: each is told once, in batches, until there is more, and nothing for ever', () => {
  const log = new ActivityLog()
  for (const [at, id] of ['a', 'b', 'c'].entries()) log.touch(id, at * 1000.4)
  expect(log.untold(2, 5000)).toEqual([
    { id: 'a', ageMs: 5000 },
    { id: 'b', ageMs: 4000 },
  ])
  const told = log.untold(9, 5000)
  // One has traffic while it is being told.
  log.touch('b', 5001)
  log.confirm(told, 5000)
  expect(log.untold(9, 6000)).toEqual([{ id: 'b', ageMs: 999 }])
  log.untell()
  expect(log.untold(9, 6000).map(({ id }) => id)).toEqual(['a', 'b', 'c'])
  log.forget('a')
  expect(log.untold(9, 700_000)).toEqual([])
})

type Telling = {
  reporter: ActivityReporter
  activity: ActivityLog
  bodies: ActivityRequest[]
  serve: (answer: RequestListener) => Promise<Server>
}

function openTelling(): Telling {
  const folder = mkdtempSync(join(tmpdir(), 'activity-'))
  const socketPath = join(folder, 'feed.sock')
  const activity = new ActivityLog()
  const bodies: ActivityRequest[] = []
  const reporter = new ActivityReporter({
    activity,
    socketPath,
    log: createSilentLogger(),
    everyMs: 10,
    now: () => 1000,
  })
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const serve = async (answer: RequestListener) => {
    const server = createServer((request, response) => {
      let text = ''
      request.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      request.on('end', () => {
        bodies.push(JSON.parse(text) as ActivityRequest)
        answer(request, response)
      })
    })
    rmSync(socketPath, { force: true })
    await new Promise<void>((resolve) => server.listen(socketPath, resolve))
    onTestFinished(() => void server.close())
    return server
  }
  return { reporter, activity, bodies, serve }
}

const answerWith =
  (epoch: string): RequestListener =>
  (_, response) =>
    void response.end(JSON.stringify({ epoch }))

test('what control cannot be told now is told later, and to a new control all of it again', async () => {
  const { reporter, activity, bodies, serve } = openTelling()
  activity.touch('a', 400)
  await reporter.tell()
  const failing = await serve((_, response) => void response.writeHead(500).end('no'))
  await reporter.tell()
  expect(activity.untold(9, 1000)).toEqual([{ id: 'a', ageMs: 600 }])
  failing.close()
  const first = await serve(answerWith('one'))
  activity.touch('b', 900)
  await reporter.tell()
  await reporter.tell()
  expect(bodies.slice(1)).toEqual([
    {
      sandboxes: [
        { id: 'a', ageMs: 600 },
        { id: 'b', ageMs: 100 },
      ],
    },
  ])
  first.close()
  await serve(answerWith('two'))
  activity.touch('c', 1000)
  await reporter.tell()
  await reporter.tell()
  const ids = bodies.slice(2).map(({ sandboxes }) => sandboxes.map(({ id }) => id))
  expect(ids).toEqual([['c'], ['a', 'b']])
})

test('many sandboxes are told of in requests of bounded size, and an answer without end is no answer', async () => {
  const { reporter, activity, bodies, serve } = openTelling()
  for (let at = 0; at < 600; at++) activity.touch(`s${at}`, 500)
  const server = await serve(answerWith('one'))
  await reporter.tell()
  expect(bodies.map(({ sandboxes }) => sandboxes.length)).toEqual([250, 250, 100])
  server.close()
  await serve((_, response) => void response.end('x'.repeat(100_000)))
  activity.touch('s1', 600)
  await reporter.tell()
  expect(activity.untold(9, 1000)).toEqual([{ id: 's1', ageMs: 400 }])
})

test('it tells by itself until it is stopped', async () => {
  const { reporter, activity, bodies, serve } = openTelling()
  await serve(answerWith('one'))
  const stop = new AbortController()
  const running = reporter.run(stop.signal)
  activity.touch('a', 500)
  await waitFor(() => expect(bodies).toHaveLength(1))
  stop.abort()
  await running
})

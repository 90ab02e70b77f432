import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { UpstreamPool } from '../../gateway/relay/pool.ts'
import type { Lookup } from '../../gateway/routing/routes-feed.ts'
import { parseRanges } from '../../lib/hops.ts'
import { FakeControl } from './fake-control.ts'
import { dial, exchange, type FakeRoutes, head, startAnswering, startGateway, startRaw } from './support.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const CLOSE = 'Connection: close'

async function answers(port: number, ...lines: string[]) {
  const text = await exchange(port, head('GET /', CLOSE, ...lines))
  const [, status] = /^HTTP\/1\.1 (\d+)/.exec(text) ?? []
  const body = text.slice(text.indexOf('\r\n\r\n') + 4)
  return {
    status: Number(status),
    text,
    body,
    json: () => JSON.parse(body) as { code: string; message: string },
  }
}

describe('a sandbox that cannot answer', () => {
  test.each([
    ['paused', 409, 'DOCKER::SANDBOX_NOT_RUNNING'],
    ['stopping', 410, 'DOCKER::SANDBOX_NOT_RUNNING'],
    ['terminated', 410, 'DOCKER::SANDBOX_NOT_RUNNING'],
    ['failed', 410, 'DOCKER::SANDBOX_NOT_RUNNING'],
  ] as const)('as it is %s: %i', async (state, status, code) => {
    const gateway = await startGateway()
    gateway.routes.put('a', 1, { state, ports: {} })
    const answer = await answers(gateway.port)
    expect(answer.status).toBe(status)
    expect(answer.json().code).toBe(code)
    expect(answer.text).toMatch(/X-Request-ID: [0-9a-f]{32}/)
  })

  test('as there is none: 404', async () => {
    const gateway = await startGateway()
    expect((await answers(gateway.port)).json()).toEqual({
      code: 'DOCKER::SANDBOX_NOT_FOUND',
      message: 'There is no sandbox with this id',
    })
  })

  test('as nothing listens: 502, as a page for a browser', async () => {
    const gateway = await startGateway()
    const { port, server } = await startRaw()
    await new Promise((resolve) => server.close(resolve))
    gateway.routes.put('a', port)
    const answer = await answers(gateway.port)
    expect(answer.status).toBe(502)
    expect(answer.json().code).toBe('BACKEND_CONNECTION_FAILED')
    const page = await answers(gateway.port, 'Accept: text/html,*/*')
    expect(page.text).toContain('Content-Type: text/html; charset=utf-8')
    expect(page.body).toMatch(/<h1>Nothing in the sandbox answers on port 8000<\/h1>[\s\S]*0\.0\.0\.0/)
    expect(Buffer.byteLength(page.body)).toBe(Number(/Content-Length: (\d+)/.exec(page.text)?.[1]))
  })

  test('by a name in place of its address is not looked up', async () => {
    const gateway = await startGateway()
    gateway.routes.put('a', 1, { address: 'localhost', ports: {} })
    expect((await answers(gateway.port)).status).toBe(502)
  })

  test('the answer to HEAD has no body', async () => {
    const gateway = await startGateway()
    const text = await exchange(gateway.port, head('HEAD /', CLOSE))
    expect(text).toMatch(/^HTTP\/1\.1 404 [\s\S]*Content-Length: \d\d/)
    expect(text.endsWith('\r\n\r\n')).toBe(true)
  })
})

describe('a sandbox that is starting', () => {
  test('is waited for', async () => {
    const gateway = await startGateway()
    const upstream = await startAnswering(OK)
    gateway.routes.put('a', 1, { state: 'pending', ports: {} })
    const first = answers(gateway.port)
    const client = dial(gateway.port).send(head('GET /') + head('GET /', CLOSE))
    gateway.routes.put('b', 1)
    gateway.routes.put('a', upstream.port)
    expect((await first).status).toBe(200)
    expect(await client.ended()).toMatch(/ok[\s\S]*ok$/)
  })

  test('is waited for with a body larger than what is kept ahead', async () => {
    const gateway = await startGateway()
    const upstream = await startRaw()
    gateway.routes.put('a', 1, { state: 'pending', ports: {} })
    const body = 'x'.repeat(2 ** 20)
    const client = dial(gateway.port).send(`${head('POST /', `Content-Length: ${body.length}`)}${body}`)
    await gateway.routes.isWaitedFor(1)
    gateway.routes.put('a', upstream.port)
    const peer = await upstream.peer(0)
    await peer.read(body)
    peer.send(OK)
    await client.read('ok')
  })

  test.each([
    ['is deleted meanwhile', 404],
    ['fails meanwhile', 410],
  ])('and %s: %i', async (what, status) => {
    const gateway = await startGateway()
    gateway.routes.put('a', 1, { state: 'pending', ports: {} })
    const client = dial(gateway.port).send(head('GET /', CLOSE))
    await new Promise<void>((resolve) => client.socket.once('connect', () => setImmediate(resolve)))
    if (status === 404) gateway.routes.delete('a')
    else gateway.routes.put('a', 1, { state: 'failed', ports: {} })
    expect(await client.ended(), what).toContain(`HTTP/1.1 ${status} `)
  })

  test('for too long: 503 with Retry-After', async () => {
    const gateway = await startGateway({ holdMs: 50 })
    gateway.routes.put('a', 1, { state: 'pending', ports: {} })
    expect((await answers(gateway.port)).text).toMatch(/^HTTP\/1\.1 503 [\s\S]*Retry-After: 1\r\n/)
  })

  test('with too many others: 503 with Retry-After at once, and they wait on', async () => {
    const gateway = await startGateway({ holdMs: 60_000, maxHeld: 1 })
    const upstream = await startAnswering(OK)
    gateway.routes.put('a', upstream.port, { state: 'pending', ports: {} })
    const first = answers(gateway.port)
    await gateway.routes.isWaitedFor(1)
    expect((await answers(gateway.port)).text).toMatch(/^HTTP\/1\.1 503 [\s\S]*Retry-After: 1\r\n/)
    gateway.routes.put('a', upstream.port)
    expect((await first).status).toBe(200)
  })

  test('cannot take the places of all, however many wait for it', async () => {
    const gateway = await startGateway({ holdMs: 60_000, maxHeld: 4 })
    const upstream = await startAnswering(OK)
    for (const id of ['a', 'b']) gateway.routes.put(id, 1, { state: 'pending', ports: {} })
    const many = Array.from({ length: 3 }, () => answers(gateway.port))
    // The two that wait are answered when it runs.
    const refused = await Promise.race(many)
    expect([refused.status, refused.json().code]).toEqual([503, 'DOCKER::SANDBOX_NOT_RUNNING'])
    await gateway.routes.isWaitedFor(2)
    const other = exchange(gateway.port, head('GET /', CLOSE).replace('a-8000', 'b-8000'))
    await gateway.routes.isWaitedFor(3)
    for (const id of ['a', 'b']) gateway.routes.put(id, upstream.port)
    expect(await other).toContain('HTTP/1.1 200 ')
    expect((await Promise.all(many)).map(({ status }) => status).sort()).toEqual([200, 200, 503])
  })

  test('frees its place when the client leaves', async () => {
    const gateway = await startGateway({ holdMs: 60_000, maxHeld: 1 })
    gateway.routes.put('a', 1, { state: 'pending', ports: {} })
    const client = dial(gateway.port).send(head('GET /'))
    await new Promise<void>((resolve) => client.socket.once('connect', () => setImmediate(resolve)))
    client.socket.destroy()
    while (!gateway.lines.some((line) => line.includes('status=499')))
      await new Promise((resolve) => setImmediate(resolve))
    const waiting = answers(gateway.port)
    const upstream = await startAnswering(OK)
    gateway.routes.put('a', upstream.port)
    expect((await waiting).status).toBe(200)
  })

  test('and was never seen is asked for', async () => {
    const gateway = await startGateway()
    const upstream = await startAnswering(OK)
    let answer: (found: Lookup) => void = () => {}
    gateway.routes.onFind = () =>
      new Promise((resolve) => {
        answer = resolve
      })
    const first = answers(gateway.port)
    while (answer.length === 0) await new Promise((resolve) => setImmediate(resolve))
    answer({ id: 'a', state: 'pending', generation: 1 })
    await new Promise((resolve) => setImmediate(resolve))
    gateway.routes.put('a', upstream.port)
    expect((await first).status).toBe(200)
    gateway.routes.delete('a')
    gateway.routes.onFind = async () => 'unreachable'
    expect((await answers(gateway.port)).status).toBe(503)
  })
})

describe('what is not a sandbox’s', () => {
  test('goes to control, streams and uploads and WebSockets too', async () => {
    await using control = new FakeControl({
      api: (request, response) => {
        response.setHeader('X-Seen-Host', request.headers.host ?? '')
        response.setHeader('X-Seen-For', String(request.headers['x-forwarded-for']))
        request.pipe(response)
      },
    })
    control.api.on('upgrade', (_, socket) => {
      socket.write('HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello')
      socket.end()
    })
    await control.start()
    const gateway = await startGateway({ controlSocket: control.controlSocket })
    const own = `localhost:${gateway.port}`
    const answer = await fetch(`http://${own}/v1/sandboxes`, {
      method: 'POST',
      body: 'x'.repeat(100_000),
      headers: { 'x-forwarded-for': '1.2.3.4' },
    })
    expect((await answer.text()).length).toBe(100_000)
    expect(answer.headers.get('x-seen-host')).toBe(own)
    expect(answer.headers.get('x-seen-for')).toMatch(/^(127\.0\.0\.1|::1)$/)
    const client = dial(gateway.port)
    client.send(`GET / HTTP/1.1\r\nHost: ${own}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 101 [\s\S]*hello$/)
    client.socket.destroy()
  })

  test('is refused with 503 while control is away, and sandboxes are not', async () => {
    const gateway = await startGateway()
    const upstream = await startAnswering(OK)
    gateway.routes.put('a', upstream.port)
    const away = await fetch(`http://127.0.0.1:${gateway.port}/v1/sandboxes`)
    expect(away.status).toBe(503)
    expect(await away.json()).toMatchObject({ code: 'GENERAL::UNAVAILABLE' })
    expect((await answers(gateway.port)).status).toBe(200)
  })

  test('is refused to foreign hosts and origins without an API key', async () => {
    await using control = await new FakeControl().start()
    const gateway = await startGateway({ controlSocket: control.controlSocket })
    const ask = (...lines: string[]) =>
      exchange(gateway.port, ['POST /v1/sandboxes HTTP/1.1', CLOSE, ...lines, '', ''].join('\r\n'))
    const own = `Host: localhost:${gateway.port}`
    expect(await ask('Host: evil.com')).toMatch(/403 [\s\S]*HOST_NOT_ALLOWED/)
    expect(await ask(own, 'Origin: null')).toMatch(/403 [\s\S]*ORIGIN_NOT_ALLOWED/)
    expect(await ask(own, `Origin: http://a-8000.localhost:${gateway.port}`)).toMatch(/403 /)
    expect(await ask(own, `Origin: http://localhost:${gateway.port}`)).toMatch(/200 OK/)
  })
})

async function listenAsPolicy(listener: RequestListener): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'policy-'))
  const socketPath = join(folder, 'policy.sock')
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return socketPath
}

test('port 18080 leads to egress’s socket, under the sandbox’s own path', async () => {
  const socketPath = await listenAsPolicy((request, response) =>
    response.end(`${request.url} ${request.headers['opensandbox-egress-auth']}`),
  )
  const gateway = await startGateway()
  gateway.routes.put('a', 1, {
    state: 'paused',
    ports: { 18080: { socketPath, pathPrefix: '/sandboxes/a' } },
  })
  const answer = await fetch(`http://127.0.0.1:${gateway.port}/sandboxes/a/proxy/18080/policy?x=1`, {
    headers: { 'OPENSANDBOX-EGRESS-AUTH': 'token' },
  })
  expect(await answer.text()).toBe('/sandboxes/a/policy?x=1 token')
})

test.each([
  ['in use', (response: ServerResponse) => void response.write('first')],
  ['idle', (response: ServerResponse) => void response.end('first')],
])('a connection to egress’s socket ends with the sandbox while it is %s', async (_, answer) => {
  const closed: Promise<unknown>[] = []
  const socketPath = await listenAsPolicy((request, response) => {
    closed.push(once(request.socket, 'close'))
    answer(response)
  })
  const gateway = await startGateway()
  gateway.routes.put('a', 1, { ports: { 18080: { socketPath, pathPrefix: '/sandboxes/a' } } })
  const client = dial(gateway.port).send(
    `GET /sandboxes/a/proxy/18080/x HTTP/1.1\r\nHost: localhost:${gateway.port}\r\n\r\n`,
  )
  await client.read('first')
  gateway.routes.delete('a')
  await closed[0]
})

test('a document opened by path is sent to the sandbox’s own name', async () => {
  const gateway = await startGateway()
  gateway.routes.put('a', 1)
  const answer = await fetch(`http://localhost:${gateway.port}/sandboxes/a/proxy/8000/x?y`, {
    redirect: 'manual',
    headers: { 'Sec-Fetch-Mode': 'navigate' },
  })
  // A client that keeps its own Sec-Fetch-Mode gets the answer itself.
  if (answer.status !== 307) {
    const text = await exchange(
      gateway.port,
      `GET /sandboxes/a/proxy/8000/x?y HTTP/1.1\r\nHost: localhost:${gateway.port}\r\nSec-Fetch-Mode: navigate\r\n${CLOSE}\r\n\r\n`,
    )
    expect(text).toContain(`Location: //a-8000.localhost:${gateway.port}/x?y\r\n`)
  } else expect(answer.headers.get('location')).toBe(`http://a-8000.localhost:${gateway.port}/x?y`)
})

test('nobody takes all connections to control', async () => {
  await using control = await new FakeControl({ api: () => {} }).start()
  const arrived = once(control.api, 'request')
  const gateway = await startGateway({
    controlSocket: control.controlSocket,
    pool: new UpstreamPool({ perTarget: 2 }),
    front: { trustedProxies: parseRanges(['127.0.0.0/8']) },
  })
  const ask = (client: string) =>
    dial(gateway.port).send(
      `GET /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ${client}\r\n\r\n`,
    )
  ask('203.0.113.1')
  await arrived
  expect(await ask('203.0.113.1').read(/Retry-After: 1/)).toContain('503')
  const next = once(control.api, 'request')
  ask('203.0.113.2')
  await next
  expect(await ask('203.0.113.3').read(/Retry-After: 1/)).toContain('503')
})

describe('connections to a sandbox end with a reset, so that nothing more is sent to its address, when it', () => {
  test.each([
    ['is gone', (routes: FakeRoutes) => routes.delete('a')],
    ['is in another life', (routes: FakeRoutes) => routes.put('a', 1, { generation: 2 })],
  ])('%s', async (_, change) => {
    const gateway = await startGateway()
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    const client = dial(gateway.port).send(`${head('POST /', 'Content-Length: 9')}half`)
    const peer = await upstream.peer(0)
    await peer.read('half')
    change(gateway.routes)
    await peer.ended()
    expect(peer.error).toMatchObject({ code: 'ECONNRESET' })
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 502 /)
  })
})

describe('stopping', () => {
  test('lets a running answer end, closes idle connections at once, and takes no new ones', async () => {
    const gateway = await startGateway()
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    const idle = dial(gateway.port).send('GET /status.ok HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect(await idle.read('OK')).toContain('200')
    const busy = dial(gateway.port).send(head('GET /'))
    const peer = await upstream.peer(0)
    await peer.read('\r\n\r\n')
    const closed = gateway.close(10_000)
    await idle.ended()
    peer.send(OK)
    expect(await busy.ended()).toMatch(/Connection: close\r\n\r\nok$/)
    await closed
    const late = dial(gateway.port)
    await late.ended()
    expect(late.error).toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('cuts what does not end in time', async () => {
    const gateway = await startGateway()
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    const busy = dial(gateway.port).send(head('GET /'))
    await (await upstream.peer(0)).read('\r\n\r\n')
    await gateway.close(50)
    await busy.ended()
  })
})

test.each([
  '/sandboxes/0d2b4f3e-8f3c-4c57-9b3f-2f0a54b0c001/proxy/44772/-/t0ken/command?a=s3cret',
  '/-/t0ken/command',
  '/-/t0ken',
])('a token in a path stands in no line of the log: %s', async (target) => {
  const gateway = await startGateway()
  await exchange(gateway.port, head(`GET ${target}`, CLOSE))
  const requests = gateway.lines.filter((line) => line.includes(' request '))
  expect(requests).toEqual([expect.stringContaining('/-/…')])
  expect(gateway.lines.join('')).not.toMatch(/t0ken|s3cret/)
})

test('G6: it says for a while that it is not ready before it takes nothing more, and serves until then', async () => {
  const gateway = await startGateway()
  const upstream = await startAnswering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  gateway.routes.put('a', upstream.port)
  const closed = gateway.close(0, 500)
  expect(
    await exchange(gateway.port, 'GET /status.ok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
  ).toMatch(/^HTTP\/1\.1 503 [\s\S]*draining$/)
  expect(await exchange(gateway.port, head('GET /', 'Connection: close'))).toMatch(/ok$/)
  await closed
  expect(gateway.server.listening).toBe(false)
})

test('a name of its own leads to the sandbox, whatever its case, with all its paths', async () => {
  const gateway = await startGateway()
  const upstream = await startAnswering(
    (text) => `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  )
  gateway.routes.put('a', upstream.port)
  gateway.routes.findDomain = (name) => (name === 'shop.example' ? { id: 'a', port: 8000 } : undefined)
  for (const [host, path] of [
    ['shop.example', '/status.ok'],
    ['SHOP.example.:8080', '/v1/sandboxes'],
    ['shop.EXAMPLE', '/sandboxes/b/proxy/80/'],
  ]) {
    const text = await exchange(
      gateway.port,
      `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    )
    expect(text).toContain(`\r\n\r\nGET ${path} HTTP/1.1\r\nHost: ${host}\r\n`)
  }
  const other = await exchange(
    gateway.port,
    'GET / HTTP/1.1\r\nHost: www.shop.example\r\nConnection: close\r\n\r\n',
  )
  expect(other).toMatch(/^HTTP\/1\.1 403 [\s\S]*HOST_NOT_ALLOWED/)
})

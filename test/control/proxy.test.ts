// Sandbox traffic through the API server itself: real sockets on loopback, a small program in the sandbox's place.

import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { resolveTarget } from '../../control/routes/proxy.ts'
import type { Route } from '../../lib/api/routes-feed.ts'
import { createSandbox, openControlOnPort } from '../support/control-on-port.ts'

type Handler = Parameters<typeof createServer>[1]

async function startApp(handler: Handler): Promise<{ server: Server; port: number }> {
  const server = createServer(handler as () => void)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, port: (server.address() as AddressInfo).port }
}

/** Control on a port, with one running sandbox whose address is loopback. */
async function open({ apiKey = 'k', trustedProxies }: { apiKey?: string; trustedProxies?: string[] } = {}) {
  const accessSettings = apiKey ? { apiKey } : {}
  const opened = await openControlOnPort({ accessSettings, ...(trustedProxies && { trustedProxies }) })
  const { base } = opened
  const id = await createSandbox(base, 'k')
  return {
    ...opened,
    id,
    proxy: (port: number) => `${base}/sandboxes/${id}/proxy/${port}`,
  }
}

test('a sandbox that asks for its token gets no request without it, and none gets to see it', async () => {
  const seen: IncomingMessage[] = []
  const app = await startApp((incoming, outgoing) => {
    seen.push(incoming)
    outgoing.end('in')
  })
  const { base } = await openControlOnPort({ accessSettings: { apiKey: 'k' } })
  const id = await createSandbox(base, 'k', { secureAccess: true })
  const asked = await fetch(`${base}/sandboxes/${id}/endpoints/${app.port}`, {
    headers: { 'open-sandbox-api-key': 'k' },
  })
  const { headers } = (await asked.json()) as { headers: Record<string, string> }
  const ask = (more: Record<string, string>) =>
    fetch(`${base}/sandboxes/${id}/proxy/${app.port}/`, { headers: more })
  for (const wrong of [{}, { 'OpenSandbox-Secure-Access': '' }, { 'OpenSandbox-Secure-Access': 'x' }]) {
    const refused = await ask(wrong as Record<string, string>)
    expect([refused.status, await refused.json()]).toEqual([
      401,
      { code: 'MISSING_OR_INVALID_SECURE_ACCESS', message: expect.not.stringContaining('x"') },
    ])
  }
  const answer = await ask(headers)
  expect([answer.status, await answer.text()]).toEqual([200, 'in'])
  expect(seen).toHaveLength(1)
  expect(seen[0]?.headers).not.toHaveProperty('opensandbox-secure-access')
})

test('a request arrives as it was sent, and its answer comes back as it was given', async () => {
  const seen: IncomingMessage[] = []
  const app = await startApp((incoming, outgoing) => {
    seen.push(incoming)
    outgoing.writeHead(418, [
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2'],
      ['X-App', 'yes'],
      ['Service-Worker-Allowed', '/'],
    ] as never)
    outgoing.end(`${incoming.method} ${incoming.url}`)
  })
  const { proxy } = await open()
  const response = await fetch(`${proxy(app.port)}/a%2Fb/c?x=%20y&z=+`, {
    headers: {
      authorization: 'Bearer app',
      cookie: 'session=1',
      'open-sandbox-api-key': 'k',
      'x-forwarded-for': '6.6.6.6',
      'x-real-ip': '6.6.6.6',
    },
  })
  expect([response.status, await response.text()]).toEqual([418, 'GET /a%2Fb/c?x=%20y&z=+'])
  const path = new URL(response.url).pathname.split('/').slice(0, 5).join('/')
  expect(response.headers.getSetCookie()).toEqual([`a=1; Path=${path}/`, `b=2; Path=${path}/`])
  expect(response.headers.get('service-worker-allowed')).toBeNull()
  expect(response.headers.get('x-request-id')).toBeTruthy()
  const { headers } = seen[0] ?? {}
  expect(headers).not.toHaveProperty('authorization')
  expect(headers).not.toHaveProperty('cookie')
  expect(headers).not.toHaveProperty('open-sandbox-api-key')
  expect(headers).not.toHaveProperty('x-real-ip')
  expect(headers?.['x-forwarded-for']).toMatch(/127\.0\.0\.1$/)
  expect(headers?.['x-forwarded-for']).not.toContain('6.6.6.6')
})

test('needs no API key, under /v1 too, and every method passes', async () => {
  const app = await startApp((incoming, outgoing) => outgoing.end(incoming.method))
  const { base, id } = await open()
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD']) {
    const response = await fetch(`${base}/v1/sandboxes/${id}/proxy/${app.port}/`, { method })
    expect([method, response.status, await response.text()]).toEqual([
      method,
      200,
      method === 'HEAD' ? '' : method,
    ])
  }
})

test('a body of many megabytes goes through both ways', async () => {
  const app = await startApp((incoming, outgoing) => incoming.pipe(outgoing))
  const { proxy } = await open()
  const body = Buffer.alloc(8 * 1024 * 1024, 'abc')
  const response = await fetch(proxy(app.port), { method: 'POST', body })
  expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true)
})

test('the script of a service worker is refused, as all sandboxes have one origin here', async () => {
  const app = await startApp((_incoming, outgoing) => outgoing.end('worker'))
  const { proxy } = await open()
  const answer = await fetch(`${proxy(app.port)}/sw.js`, { headers: { 'service-worker': 'script' } })
  expect([answer.status, await answer.json()]).toEqual([
    403,
    { code: 'GENERAL::FORBIDDEN', message: expect.stringContaining('service worker') },
  ])
})

test('a redirect to a path stays inside the sandbox', async () => {
  const app = await startApp((_incoming, outgoing) => outgoing.writeHead(302, { location: '/login' }).end())
  const { proxy, id } = await open()
  const response = await fetch(`${proxy(app.port)}/x`, { redirect: 'manual' })
  expect(response.headers.get('location')).toBe(`/sandboxes/${id}/proxy/${app.port}/login`)
})

test('a port where nothing listens is 502, an answer that breaks off is no success', async () => {
  const broken = await startApp((incoming) => incoming.socket.destroy())
  const closed = await startApp(() => {})
  await new Promise((resolve) => closed.server.close(resolve))
  const { proxy } = await open()
  const refused = await fetch(proxy(closed.port))
  expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([
    502,
    'BACKEND_CONNECTION_FAILED',
  ])
  const half = await fetch(proxy(broken.port))
  expect([half.status, ((await half.json()) as { code: string }).code]).toEqual([
    502,
    'BACKEND_RESPONSE_FAILED',
  ])
})

test('what is not there is 404, 422 or 409, with an envelope', async () => {
  const { base, id } = await open()
  const ask = async (path: string) => {
    const response = await fetch(`${base}${path}`, { headers: { 'open-sandbox-api-key': 'k' } })
    return [response.status, ((await response.json()) as { code: string }).code]
  }
  expect(await ask('/sandboxes/aaaaaaaaaaaaaaaa/proxy/80/')).toEqual([404, 'DOCKER::SANDBOX_NOT_FOUND'])
  expect(await ask(`/sandboxes/${id}/proxy/80x/`)).toEqual([422, 'GENERAL::INVALID_REQUEST'])
  expect(await ask(`/sandboxes/${id}/proxy/65536/`)).toEqual([400, 'DOCKER::INVALID_PORT'])
  await fetch(`${base}/sandboxes/${id}/pause`, { method: 'POST', headers: { 'open-sandbox-api-key': 'k' } })
  expect(await ask(`/sandboxes/${id}/proxy/80/`)).toEqual([409, 'DOCKER::SANDBOX_NOT_RUNNING'])
})

test.each([
  ['a proxy that is trusted', ['127.0.0.0/8'], 'https of 203.0.113.9, 127.0.0.1 at api.example'],
  ['anybody else', ['10.0.0.0/8'], 'http of 127.0.0.1 at 127.0.0.1'],
])('C3: who writes to a vault has spoken TLS when %s says so: %j', async (_, trustedProxies, told) => {
  const { policySocket, proxy } = await open({ trustedProxies })
  const egress = createServer(({ headers }, outgoing) => {
    const by = (name: string) => String(headers[`x-forwarded-${name}`])
    outgoing.writeHead(302, { location: 'http://localhost/next' })
    outgoing.end(`${by('proto')} of ${by('for')} at ${by('host').replace(/:\d+$/, '')}`)
  })
  await new Promise<void>((resolve) => egress.listen(policySocket, resolve))
  onTestFinished(() => void egress.close())
  const response = await fetch(`${proxy(18080)}/credential-vault`, {
    method: 'POST',
    redirect: 'manual',
    headers: {
      'x-forwarded-proto': 'https',
      'x-forwarded-for': '203.0.113.9',
      'x-forwarded-host': 'api.example',
    },
  })
  expect(await response.text()).toBe(told)
  expect(response.headers.get('location')).toMatch(
    told.startsWith('https') ? /^https:\/\/api\.example\/.*\/next$/ : /^http:\/\/127.*\/next$/,
  )
})

test("port 18080 leads to egress, below the sandbox's own path", async () => {
  const { id, policySocket, proxy } = await open()
  const egress = createServer((incoming, outgoing) =>
    outgoing.end(`${incoming.url} ${incoming.headers['opensandbox-egress-auth']}`),
  )
  await new Promise<void>((resolve) => egress.listen(policySocket, resolve))
  onTestFinished(() => {
    egress.closeAllConnections()
    egress.close()
  })
  const response = await fetch(`${proxy(18080)}/policy?x=1`, { headers: { 'opensandbox-egress-auth': 't' } })
  expect(await response.text()).toBe(`/sandboxes/${id}/policy?x=1 t`)
})

test('a WebSocket passes with its subprotocol, text and bytes, and its close code', async () => {
  const app = await startApp(() => {})
  const sockets = new WebSocketServer({
    server: app.server,
    handleProtocols: (offered) => [...offered][1] ?? false,
  })
  sockets.on('connection', (socket, incoming) => {
    socket.send(incoming.url ?? '')
    socket.on('message', (data, isBinary) => {
      socket.send(data, { binary: isBinary })
      if (!isBinary && String(data) === 'bye') socket.close(4001, 'as asked')
    })
  })
  const { port, id } = await open()
  const client = new WebSocket(`ws://127.0.0.1:${port}/sandboxes/${id}/proxy/${app.port}/chat?a=1`, [
    'one',
    'two',
  ])
  const got: string[] = []
  const closed = new Promise<[number, string]>((resolve, reject) => {
    client.on('close', (code, reason) => resolve([code, String(reason)]))
    client.on('error', reject)
  })
  client.on('message', (data, isBinary) => got.push(`${isBinary ? 'bytes' : 'text'} ${String(data)}`))
  client.on('open', () => {
    client.send(Buffer.from('raw'))
    client.send('bye')
  })
  expect(await closed).toEqual([4001, 'as asked'])
  expect(client.protocol).toBe('two')
  expect(got).toEqual(['text /chat?a=1', 'bytes raw', 'text bye'])
})

test('a WebSocket to nowhere is refused with a status, and the server lives on', async () => {
  const { port, id, base } = await open()
  for (const [path, status] of [
    ['/sandboxes/aaaaaaaaaaaaaaaa/proxy/80/', 404],
    [`/sandboxes/${id}/proxy/1/`, 502],
    ['/v1/sandboxes', 404],
  ] as const) {
    const answered = await new Promise<number | undefined>((resolve, reject) => {
      const asked = request({
        port,
        path,
        headers: {
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': '13',
          'sec-websocket-key': 'eHh4eHh4eHh4eHh4eHh4eA==',
        },
      })
      asked.on('response', (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      asked.on('error', reject)
      asked.end()
    })
    expect([path, answered]).toEqual([path, status])
  }
  expect((await fetch(`${base}/health`)).status).toBe(200)
})

test('without an API key a WebSocket of a foreign page is refused, and documents have no origin', async () => {
  const app = await startApp((_incoming, outgoing) => outgoing.end('<script>'))
  new WebSocketServer({ server: app.server })
  const { port, id, proxy } = await open({ apiKey: '' })
  const ask = (headers: Record<string, string>) =>
    new Promise<string>((resolve, reject) => {
      const client = new WebSocket(`ws://127.0.0.1:${port}/sandboxes/${id}/proxy/${app.port}/`, { headers })
      client.on('open', () => {
        client.terminate()
        resolve('open')
      })
      client.on('unexpected-response', (_request, response) => resolve(String(response.statusCode)))
      client.on('error', reject)
    })
  expect(await ask({})).toBe('open')
  expect(await ask({ origin: `http://127.0.0.1:${port}` })).toBe('open')
  expect(await ask({ origin: 'https://evil.example' })).toBe('403')
  expect(await ask({ host: 'evil.example' })).toBe('403')
  const page = await fetch(proxy(app.port))
  expect([page.status, page.headers.get('content-security-policy')]).toEqual([
    200,
    expect.stringContaining('sandbox'),
  ])
})

test('a WebSocket that is open does not keep the server from stopping', async () => {
  const app = await startApp(() => {})
  new WebSocketServer({ server: app.server })
  const { port, id, control } = await open()
  const client = new WebSocket(`ws://127.0.0.1:${port}/sandboxes/${id}/proxy/${app.port}/`)
  await new Promise((resolve) => client.once('open', resolve))
  const closed = new Promise((resolve) => client.once('close', resolve))
  await Promise.all([control.stop(), closed])
  expect(client.readyState).toBe(WebSocket.CLOSED)
  await expect(fetch(`http://127.0.0.1:${port}/health`)).rejects.toThrow()
})

test('a client that leaves ends the request in the sandbox', async () => {
  const left = Promise.withResolvers<void>()
  const app = await startApp((incoming, outgoing) => {
    outgoing.write('begun')
    incoming.socket.on('close', () => left.resolve())
  })
  const { port, id } = await open()
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /sandboxes/${id}/proxy/${app.port}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
  const head = await new Promise((resolve) => socket.once('data', resolve))
  expect(String(head)).toMatch(/^HTTP\/1\.1 200 /)
  socket.destroy()
  await expect(left.promise).resolves.toBeUndefined()
})

const ROUTE: Route = {
  id: 'a',
  state: 'running',
  address: '10.0.0.1',
  generation: 1,
  ports: { '18080': { socketPath: '/p', pathPrefix: '/sandboxes/a' } },
}
test.each([
  [
    '/sandboxes/a/proxy/80',
    { id: 'a', target: { host: '10.0.0.1', port: 80 }, path: '/', prefix: '/sandboxes/a/proxy/80' },
  ],
  [
    '/v1/sandboxes/a/proxy/80/x?y',
    { id: 'a', target: { host: '10.0.0.1', port: 80 }, path: '/x?y', prefix: '/v1/sandboxes/a/proxy/80' },
  ],
  [
    '/sandboxes/a/proxy/80?y',
    { id: 'a', target: { host: '10.0.0.1', port: 80 }, path: '/?y', prefix: '/sandboxes/a/proxy/80' },
  ],
  [
    '/sandboxes/a/proxy/18080/policy',
    {
      id: 'a',
      target: ROUTE.ports?.['18080'],
      path: '/sandboxes/a/policy',
      prefix: '/sandboxes/a/proxy/18080',
    },
  ],
])('resolveTarget(%s)', (url, wanted) => {
  expect(resolveTarget({ get: (id) => (id === 'a' ? ROUTE : undefined) }, url)).toEqual(wanted)
})

// Not by fetch, which sends no TRACE.
test('TRACE is refused before anything is looked up, as it would show what a client sends', async () => {
  const { proxy } = await open()
  for (const path of ['', '/a/b', '?x']) {
    const asked = request(proxy(0) + path, { method: 'TRACE' })
    asked.end()
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    expect([answer.statusCode, answer.headers.allow]).toEqual([
      405,
      'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
    ])
    expect(JSON.parse(await text(answer))).toMatchObject({ code: 'GENERAL::METHOD_NOT_ALLOWED' })
  }
})

// Traffic by a path of the API where tenants are kept elsewhere: control says whose a sandbox is before a byte reaches it.

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { createKeyCheck } from '../../../gateway/access/key-check.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { startGateway } from '../support.ts'

const GUARDED = { hasApiKey: true, guardsTraffic: true, domain: 'localhost', ownHosts: new Set<string>() }
const ID = 'aaaaaaaaaaaaaaaa'
const RED = { key: 'red-1', from: '192.0.2.1' }

async function openControl(handler: RequestListener): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'key-check-'))
  const socketPath = join(folder, 'f.sock')
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return socketPath
}

async function openSandbox() {
  const seen: (string | undefined)[] = []
  const server = createServer((incoming, outgoing) => {
    seen.push(incoming.headers['open-sandbox-api-key'] as string | undefined)
    outgoing.end('from the sandbox')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return { seen, port: typeof address === 'object' && address ? address.port : 0 }
}

test('a request by path passes with the key of whose the sandbox is, and the key stays outside', async () => {
  const asked: string[] = []
  const socketPath = await openControl((incoming, outgoing) => {
    const key = incoming.headers['open-sandbox-api-key']
    asked.push(`${incoming.url} ${key}`)
    if (key === 'red-1') outgoing.writeHead(204).end()
    else
      outgoing.writeHead(key === undefined ? 401 : 404, { 'content-type': 'application/json' }).end(
        JSON.stringify({
          code: key === undefined ? 'MISSING_API_KEY' : 'DOCKER::SANDBOX_NOT_FOUND',
          message: 'no',
        }),
      )
  })
  const sandbox = await openSandbox()
  const gateway = await startGateway({
    access: GUARDED,
    checkKey: createKeyCheck({ socketPath, log: createSilentLogger() }),
  })
  gateway.routes.put(ID, sandbox.port)
  const call = async (path: string, key?: string) => {
    const answer = await fetch(`http://127.0.0.1:${gateway.port}${path}`, {
      headers: key === undefined ? {} : { 'open-sandbox-api-key': key },
    })
    return [answer.status, await answer.text()]
  }
  const path = `/v1/sandboxes/${ID}/proxy/8000/`
  expect(await call(path)).toEqual([401, '{"code":"MISSING_API_KEY","message":"no"}'])
  expect(await call(path, 'blue-1')).toEqual([404, '{"code":"DOCKER::SANDBOX_NOT_FOUND","message":"no"}'])
  expect(sandbox.seen).toEqual([])
  expect(await call(path, 'red-1')).toEqual([200, 'from the sandbox'])
  expect(sandbox.seen).toEqual([undefined])
  expect(asked).toEqual([`/access/${ID} undefined`, `/access/${ID} blue-1`, `/access/${ID} red-1`])
})

test('a WebSocket by path is judged before the sandbox hears of it', async () => {
  const sandbox = createServer()
  const sockets = new WebSocketServer({ server: sandbox })
  sockets.on('connection', (socket) => socket.send('hello'))
  await new Promise<void>((resolve) => sandbox.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of sockets.clients) socket.terminate()
    sandbox.close()
  })
  const address = sandbox.address()
  const gateway = await startGateway({
    access: GUARDED,
    checkKey: async (_id, { key }) =>
      key === 'red-1' ? undefined : { status: 404, code: 'DOCKER::SANDBOX_NOT_FOUND', message: 'no' },
  })
  gateway.routes.put(ID, typeof address === 'object' && address ? address.port : 0)
  const open = (key: string) => {
    const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/sandboxes/${ID}/proxy/8000/`, {
      headers: { 'open-sandbox-api-key': key },
    })
    onTestFinished(() => socket.terminate())
    return new Promise<unknown>((resolve) => {
      socket.on('message', (data) => resolve(String(data)))
      socket.on('unexpected-response', (_request, response) => resolve(response.statusCode))
      socket.on('error', resolve)
    })
  }
  expect([await open('blue-1'), await open('red-1')]).toEqual([404, 'hello'])
})

test('without such tenants nobody is asked', async () => {
  const sandbox = await openSandbox()
  const gateway = await startGateway({
    access: { ...GUARDED, guardsTraffic: false },
    checkKey: () => Promise.reject(new Error('asked')),
  })
  gateway.routes.put(ID, sandbox.port)
  const answer = await fetch(`http://127.0.0.1:${gateway.port}/sandboxes/${ID}/proxy/8000/`)
  expect(answer.status).toBe(200)
})

test.each<[string, RequestListener]>([
  ['says nothing', () => {}],
  ['breaks off', (incoming) => void incoming.socket.destroy()],
  ['says something else', (_incoming, outgoing) => void outgoing.end('yes')],
  ['says no JSON', (_incoming, outgoing) => void outgoing.writeHead(500).end('oh')],
  ['talks without end', (_incoming, outgoing) => void outgoing.writeHead(404).end('x'.repeat(100_000))],
])('nothing passes while control %s', async (_how, handler) => {
  const check = createKeyCheck({
    socketPath: await openControl(handler),
    log: createSilentLogger(),
    timeoutMs: 300,
  })
  expect(await check(ID, RED)).toMatchObject({ status: 503, code: 'GENERAL::UNAVAILABLE' })
})

test('nor while it is not there', async () => {
  const check = createKeyCheck({ socketPath: '/nonexistent.sock', log: createSilentLogger() })
  expect(await check(ID, { ...RED, key: undefined })).toMatchObject({ status: 503 })
})

test('what control answers of a provider that is silent says when to come back', async () => {
  const socketPath = await openControl((_incoming, outgoing) =>
    outgoing.writeHead(503).end(JSON.stringify({ code: 'TENANT_PROVIDER_UNAVAILABLE', message: 'm' })),
  )
  const check = createKeyCheck({ socketPath, log: createSilentLogger() })
  expect(await check(ID, RED)).toEqual({
    status: 503,
    code: 'TENANT_PROVIDER_UNAVAILABLE',
    message: 'm',
    retryAfter: 5,
  })
})

test('who sends many keys that take long leaves places to others, and control is told from where each came', async () => {
  const waiting: (() => void)[] = []
  const asked = new Set<unknown>()
  const socketPath = await openControl((incoming, outgoing) => {
    asked.add(incoming.headers['x-forwarded-for'])
    const answer = () => outgoing.writeHead(204).end()
    if (incoming.headers['open-sandbox-api-key'] === 'guess') waiting.push(answer)
    else answer()
  })
  const check = createKeyCheck({ socketPath, log: createSilentLogger(), timeoutMs: 20_000 })
  const guesses = Array.from({ length: 200 }, () => check(ID, { key: 'guess', from: '192.0.2.9' }))
  const refused = await Promise.all(guesses.slice(128))
  expect(new Set(refused.map((refusal) => refusal?.status))).toEqual(new Set([503]))
  expect(await check(ID, RED)).toBeUndefined()
  await expect.poll(() => waiting.length).toBe(128)
  for (const answer of waiting) answer()
  expect(await Promise.all(guesses.slice(0, 128))).toEqual(Array.from({ length: 128 }, () => undefined))
  expect(asked).toEqual(new Set(['192.0.2.9', '192.0.2.1']))
})

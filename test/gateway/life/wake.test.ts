// A sandbox that is paused: woken by who may come in, once for all, and never by anybody else.

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Refusal } from '../../../gateway/decision/refusal.ts'
import { REFUSED } from '../../../gateway/decision/refusal.ts'
import { createWaker } from '../../../gateway/life/wake.ts'
import { hashKey } from '../../../lib/access.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { exchange, head, startAnswering, startGateway } from '../support.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const CLOSE = 'Connection: close'
const BY_BROWSER = ['Accept: text/html,*/*;q=0.8', CLOSE]

type Woken = { id: string; settle: (refusal?: Refusal) => void }

async function start(route: object = {}) {
  const upstream = await startAnswering(OK)
  const woken: Woken[] = []
  let onWake = () => {}
  const gateway = await startGateway({
    wake: (id) =>
      new Promise((resolve) => {
        woken.push({ id, settle: resolve })
        onWake()
      }),
    holdMs: 5000,
    pageMs: 50,
  })
  // What leads to the sandbox's own address, as only that is out of reach while it is paused.
  const put = (state: 'paused' | 'running', more: object = {}) =>
    gateway.routes.put('a', 0, { state, ports: {}, address: '127.0.0.1', wakes: true, ...route, ...more })
  put('paused')
  const get = (line: string, ...lines: string[]) =>
    exchange(gateway.port, head(line, ...lines).replace('a-8000.', `a-${upstream.port}.`))
  const nextWake = () =>
    new Promise<void>((resolve) => {
      if (woken.length > 0) resolve()
      else onWake = resolve
    })
  return { gateway, upstream, woken, put, get, nextWake }
}

test('G13: a request wakes it, waits, and is answered by it', async () => {
  const { get, put, woken, nextWake } = await start()
  const answers = [get('GET /', CLOSE), get('HEAD /', CLOSE)]
  await nextWake()
  // Control tells of its steps: it is being resumed, then it runs.
  put('paused', { wakes: true, generation: 1 })
  put('running')
  for (const answer of await Promise.all(answers)) expect(answer).toMatch(/^HTTP\/1\.1 200 /)
  expect(woken[0]?.id).toBe('a')
})

test('why it could not be woken is told', async () => {
  const { get, woken, nextWake } = await start()
  const answer = get('GET /', CLOSE)
  await nextWake()
  woken[0]?.settle(REFUSED.notWoken())
  expect(await answer).toMatch(/^HTTP\/1\.1 503 .*Retry-After: 5\r\n.*DOCKER::SANDBOX_RESUME_FAILED/s)
})

test('a browser is shown soon that it wakes up, by a page that loads itself anew', async () => {
  const { get } = await start()
  const page = await get('GET /', ...BY_BROWSER)
  expect(page).toMatch(/^HTTP\/1\.1 503 /)
  expect(page).toContain('Retry-After: 1\r\n')
  expect(page).toContain('<meta http-equiv="refresh" content="1">')
  expect(page).toContain('<title>The sandbox is waking up</title>')
  expect(page).toContain("Content-Security-Policy: default-src 'none'")
  expect(page).not.toMatch(/<script|https?:\/\//)
})

test.each([
  ['who asks that nothing is renewed', {}, ['OpenSandbox-Access-Renew: skip'], 409],
  ['anybody, where control says that it is not to wake', { wakes: undefined }, [], 409],
  ['who brings nothing', { accessHash: hashKey('t') }, [], 401],
  ['who brings something wrong', { accessHash: hashKey('t') }, ['OpenSandbox-Secure-Access: x'], 401],
  [
    'the question of a browser before a request',
    { accessHash: hashKey('t') },
    ['Origin: http://x', 'Access-Control-Request-Method: GET'],
    401,
  ],
] as const)('%s does not wake it', async (_, route, lines, status) => {
  const { get, put, woken } = await start()
  put('paused', route)
  const method = lines.length === 2 ? 'OPTIONS /' : 'GET /'
  expect(await get(method, CLOSE, ...lines)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  expect(woken).toEqual([])
})

test('who brings the token wakes it', async () => {
  const { get, put, nextWake } = await start({ accessHash: hashKey('t') })
  const answer = get('GET /', CLOSE, 'OpenSandbox-Secure-Access: t')
  await nextWake()
  put('running')
  expect(await answer).toMatch(/^HTTP\/1\.1 200 /)
})

async function startControl(answer: () => { status: number; body?: unknown }) {
  const folder = mkdtempSync(join(tmpdir(), 'wake-'))
  const asked: string[] = []
  const server: Server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    const { status, body } = answer()
    response.statusCode = status
    response.end(body === undefined ? undefined : JSON.stringify(body))
  })
  const socketPath = join(folder, 's')
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true })
  })
  return { socketPath, asked }
}

test('control is asked once for all who wait, and again later', async () => {
  const { socketPath, asked } = await startControl(() => ({ status: 204 }))
  const wake = createWaker({ socketPath, log: createSilentLogger(), timeoutMs: 5000 })
  expect(await Promise.all([wake('a'), wake('b'), wake('a')])).toEqual([undefined, undefined, undefined])
  expect(asked.sort()).toEqual(['POST /wake/a', 'POST /wake/b'])
  await wake('a')
  expect(asked).toHaveLength(3)
})

test.each([
  [404, { code: 'DOCKER::SANDBOX_NOT_FOUND' }, 404],
  [409, { code: 'DOCKER::SANDBOX_NOT_RUNNING' }, 409],
  [500, { code: 'DOCKER::SANDBOX_RESUME_FAILED' }, 503],
  [200, {}, 503],
  [503, 'not JSON', 503],
])('what control answers by %i %j is told as %i', async (status, body, told) => {
  const { socketPath } = await startControl(() => ({ status, body }))
  const wake = createWaker({ socketPath, log: createSilentLogger(), timeoutMs: 5000 })
  expect((await wake('a'))?.status).toBe(told)
})

test('without control nothing wakes', async () => {
  const wake = createWaker({ socketPath: '/nonexistent/s', log: createSilentLogger(), timeoutMs: 5000 })
  expect((await wake('a'))?.code).toBe('DOCKER::SANDBOX_RESUME_FAILED')
})

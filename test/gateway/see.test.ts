// What can be seen of a gateway: a line for each request, numbers, and what is under way.

import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { connect } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openAccessLog } from '../../gateway/observe/access-log.ts'
import type { Gateway } from '../../gateway/server.ts'
import { hashKey } from '../../lib/access.ts'
import { createLogger, createSilentLogger } from '../../lib/log.ts'
import { waitUntil } from '../support/wait-for.ts'
import { dial, exchange, head, OPEN_ACCESS, startAnswering, startGateway, startRaw } from './support.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const CLOSE = 'Connection: close'

function openLog(name = 'access.log') {
  const folder = mkdtempSync(join(tmpdir(), 'access-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, name)
  const lines: string[] = []
  const log = createLogger({ program: 'gateway', write: (line) => void lines.push(line) })
  return { path, lines, accessLog: openAccessLog({ path, log }) }
}
const entriesOf = (path: string) =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

/** The value of a number, by its name and labels. */
function figure({ figures }: Gateway, name: string, labels: Record<string, string> = {}): number | undefined {
  const family = figures().families.find((each) => each.name === `opensandbox_gateway_${name}`)
  return family?.samples.find((sample) => JSON.stringify(sample.labels) === JSON.stringify(labels))?.value
}

test('G17: every request is one line of JSON, with where its time went and nothing that opens anything', async () => {
  const { path, accessLog } = openLog()
  const upstream = await startAnswering(OK)
  const gateway = await startGateway({ accessLog, logsRequests: () => false })
  gateway.routes.put('a', upstream.port, { accessHash: hashKey('token') })
  await exchange(gateway.port, head('GET /x?secret=1', CLOSE, 'OpenSandbox-Secure-Access: token'))
  await exchange(gateway.port, head('GET /x', CLOSE))
  await exchange(gateway.port, 'GET /a b HTTP/1.1\r\n\r\n')
  await accessLog.close()
  const [first, second, third, ...more] = entriesOf(path)
  const ms = {
    wait: expect.any(Number),
    connect: expect.any(Number),
    firstByte: expect.any(Number),
    total: expect.any(Number),
  }
  const asked = {
    client: '127.0.0.1',
    method: 'GET',
    host: 'a-8000.localhost',
    path: '/x',
    protocol: 'HTTP/1.1',
  }
  expect(first).toEqual({
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    ...asked,
    sandbox: 'a',
    port: 8000,
    status: 200,
    bytesIn: expect.any(Number),
    bytesOut: expect.any(Number),
    ms,
  })
  expect(second).toMatchObject({
    ...asked,
    sandbox: 'a',
    port: 8000,
    status: 401,
    reason: expect.any(String),
  })
  expect(third).toMatchObject({ status: 400 })
  expect(more).toEqual([])
  expect(readFileSync(path, 'utf8')).not.toMatch(/token|secret/)
})

test('a request that is refused is written down with its sandbox, by whatever name it came', async () => {
  const { path, accessLog } = openLog()
  const access = { ...OPEN_ACCESS, hasUris: true, domain: 'box.example' }
  const gateway = await startGateway({ accessLog, access })
  gateway.routes.findDomain = (name) => (name === 'shop.example' ? { id: 'a', port: 3000 } : undefined)
  gateway.routes.put('a', 1, { accessHash: hashKey('token') })
  for (const [target, host] of [
    ['/', 'a-8000.box.example'],
    ['/', 'shop.example'],
    ['/a/8001/', 'localhost'],
  ])
    await exchange(gateway.port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${CLOSE}\r\n\r\n`)
  await accessLog.close()
  expect(entriesOf(path)).toMatchObject(
    [8000, 3000, 8001].map((port) => ({ status: 401, sandbox: 'a', port })),
  )
})

test('what came by HTTP/2 is written down as that', async () => {
  const { path, accessLog } = openLog()
  const gateway = await startGateway({ accessLog })
  const session = connect(`http://127.0.0.1:${gateway.port}`)
  onTestFinished(() => session.destroy())
  const stream = session.request({ ':authority': 'a-8000.localhost', ':path': '/x' }).resume()
  await once(stream, 'close')
  await accessLog.close()
  expect(entriesOf(path)).toMatchObject([{ protocol: 'HTTP/2', path: '/x', status: 404 }])
})

test('whether what is known is current is told, and is never a failure', async () => {
  const gateway = await startGateway()
  const ask = () =>
    exchange(gateway.port, `GET /status.ok/network-readiness HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n\r\n`)
  expect(await ask()).toMatch(/^HTTP\/1\.1 200 .*\r\n\r\nOK$/s)
  gateway.routes.isCurrent = false
  expect(await ask()).toMatch(/^HTTP\/1\.1 200 .*\r\n\r\nDEGRADED$/s)
})

test('a log that was moved away goes on in a new file', async () => {
  const { path, accessLog } = openLog()
  const gateway = await startGateway({ accessLog })
  await exchange(gateway.port, head('GET /one', CLOSE))
  await waitUntil(() => existsSync(path) && readFileSync(path, 'utf8').includes('/one'))
  renameSync(path, `${path}.1`)
  accessLog.reopen()
  await exchange(gateway.port, head('GET /two', CLOSE))
  await accessLog.close()
  expect(entriesOf(`${path}.1`).map((entry) => entry.path)).toEqual(['/one'])
  expect(entriesOf(path).map((entry) => entry.path)).toEqual(['/two'])
})

test('a log that cannot be written is said, and nobody waits for it', async () => {
  const { lines, accessLog } = openLog('missing/access.log')
  const gateway = await startGateway({ accessLog })
  expect(await exchange(gateway.port, head('GET /', CLOSE))).toMatch(/^HTTP\/1\.1 404 /)
  await waitUntil(() => lines.some((line) => line.includes('the access log cannot be written')))
})

test('G17: requests are counted by what they were for and how they ended', async () => {
  const upstream = await startAnswering(OK)
  const gateway = await startGateway({ wake: async () => undefined, holdMs: 20 })
  gateway.routes.put('a', upstream.port)
  gateway.routes.put('b', 0, { accessHash: hashKey('t') })
  gateway.routes.put('c', 0, { state: 'paused', wakes: true, ports: {} })
  await exchange(gateway.port, head('GET /', CLOSE))
  await exchange(gateway.port, head('GET /', CLOSE))
  await exchange(
    gateway.port,
    head('GET /', CLOSE, 'OpenSandbox-Secure-Access: x').replace('a-8000', 'b-8000'),
  )
  await exchange(gateway.port, head('GET /', CLOSE).replace('a-8000', 'c-8000'))
  await exchange(gateway.port, `GET /health HTTP/1.1\r\nHost: localhost\r\n${CLOSE}\r\n\r\n`)
  expect(figure(gateway, 'requests_total', { to: 'app', status: '2xx' })).toBe(2)
  expect(figure(gateway, 'requests_total', { to: 'gateway', status: '4xx' })).toBe(1)
  expect(figure(gateway, 'requests_total', { to: 'gateway', status: '5xx' })).toBe(1)
  expect(figure(gateway, 'requests_total', { to: 'control', status: '5xx' })).toBe(1)
  expect(figure(gateway, 'wakes_total', { outcome: 'woken' })).toBe(1)
  expect(figure(gateway, 'wrong_credentials_total')).toBe(1)
  expect(figure(gateway, 'routes')).toBe(3)
  expect(figure(gateway, 'request_duration_seconds', { to: 'app', le: '+Inf' })).toBe(2)
  expect(figure(gateway, 'sent_bytes_total')).toBeGreaterThan(OK.length * 2)
  // As many numbers as ever, whoever asks for what.
  const count = () => gateway.figures().families.reduce((sum, { samples }) => sum + samples.length, 0)
  const before = count()
  for (const method of ['PUT', 'BREW', 'GET'])
    await exchange(gateway.port, head(`${method} /${Math.random()}`, CLOSE).replace('a-8000', `z${method}-1`))
  expect(count()).toBe(before)
})

test('what is under way is told: by whom, to where, since when, and how much has passed', async () => {
  const upstream = await startRaw()
  const gateway = await startGateway({ accessLog: { report: () => {} }, log: createSilentLogger() })
  gateway.routes.put('a', upstream.port)
  expect(gateway.connections()).toEqual({ connections: [], leftOut: 0 })
  dial(gateway.port).send(head('GET /slow?secret'))
  await (await upstream.peer(0)).read('GET /slow')
  const stream = dial(gateway.port).send(head('GET /ws', 'Connection: Upgrade', 'Upgrade: websocket'))
  const peer = await upstream.peer(1)
  await peer.read('GET /ws')
  peer.send('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello')
  await stream.read('hello')
  dial(gateway.port)
  const { connections } = gateway.connections()
  const common = { sandboxId: 'a', port: 8000, client: '127.0.0.1', method: 'GET', ageMs: expect.any(Number) }
  expect(connections).toEqual([
    { ...common, kind: 'request', path: '/slow', bytesIn: expect.any(Number), bytesOut: 0 },
    { ...common, kind: 'stream', path: '/ws', bytesIn: expect.any(Number), bytesOut: expect.any(Number) },
  ])
  expect(figure(gateway, 'connections', { state: 'stream' })).toBe(1)
  expect(figure(gateway, 'connections', { state: 'request' })).toBe(1)
  stream.socket.resetAndDestroy()
  await waitUntil(() => gateway.connections().connections.length === 1)
})

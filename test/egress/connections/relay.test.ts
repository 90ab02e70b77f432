// The relay with real sockets, without a kernel that leads connections to it: a test says where each was meant to go.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createHttpServer, request } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { Flows } from '../../../egress/connections/flows.ts'
import { createRelay } from '../../../egress/connections/relay.ts'
import { StallWatch } from '../../../egress/stall-watch.ts'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import { createLogger } from '../../../lib/log.ts'
import { createFakeKernel } from '../fake-kernel.ts'

const servers: Server[] = []
const lines: string[] = []
let folder: string
let tlsPort: number
let httpPort: number

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'relay-test-'))
  const file = (name: string) => join(folder, name)
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=a.example',
      '-keyout',
      file('key'),
      '-out',
      file('cert'),
    ],
    { stdio: 'ignore' },
  )
  const tls = createTlsServer(
    { key: readFileSync(file('key')), cert: readFileSync(file('cert')) },
    (socket) => socket.pipe(socket),
  )
  tlsPort = await listen(tls)
  const http = createHttpServer((incoming, response) => {
    response.setHeader('x-host', incoming.headers.host ?? '')
    incoming.pipe(response)
  })
  new WebSocketServer({ server: http }).on('connection', (socket) =>
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
  )
  httpPort = await listen(http)
})
afterAll(() => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

async function listen(server: Server): Promise<number> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** A relay whose only sandbox is this process. Its servers lie on the loopback address, which a rule must open. */
async function openRelay(to: number, { perSandbox = 10 }: { perSandbox?: number } = {}) {
  const flows = new Flows({ perSandbox, total: 100 })
  const { open, record } = createFakeKernel({ flows })
  const sandboxes = open()
  await sandboxes.register('sb', {
    address: '127.0.0.1',
    interface: 'osbab12aa',
    token: 'a-token-of-the-sandbox',
    policy: {
      defaultAction: 'deny',
      egress: ['a.example', 'b.example', '127.0.0.1'].map((target) => ({ action: 'allow', target })),
    },
  })
  const sandbox = sandboxes.get('sb')
  if (!sandbox) throw new Error('There is no sandbox')
  await sandboxes.learn(sandbox, 'a.example', ['127.0.0.1'], 60)
  const log = createLogger({ program: 'test', level: () => 'info', write: (line) => void lines.push(line) })
  const relay = createRelay({
    sandboxes: () => sandboxes,
    flows,
    record,
    stalls: new StallWatch({ queuedBytesOf: () => 0 }),
    log,
    destinationOf: () => ({ address: '127.0.0.1', port: to }),
    openingMs: 300,
  })
  const port = await listen(relay)
  return { port, flows, sandboxes, record }
}

async function tlsOutcome(port: number, servername: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTls({ port, host: '127.0.0.1', servername, rejectUnauthorized: false }, () => {
      socket.write('hello')
    })
    socket.on('data', (data) => {
      resolve(String(data))
      socket.end()
    })
    socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message))
  })
}

function get(port: number, host: string, body = ''): Promise<string> {
  return new Promise((resolve) => {
    const sent = request({ port, host: '127.0.0.1', method: 'POST', headers: { host } }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve(`${response.statusCode} ${response.headers['x-host']} ${text.length}`))
    })
    sent.on('error', (error) => resolve('code' in error ? String(error.code) : error.message))
    sent.end(body)
  })
}

test('TLS goes through to the server of an allowed name, and no byte of another does', async () => {
  const { port, flows, record } = await openRelay(tlsPort)
  expect(await tlsOutcome(port, 'a.example')).toBe('hello')
  expect(await tlsOutcome(port, 'c.example')).toBe('ECONNRESET')
  // Allowed, but this is not where it lives.
  expect(await tlsOutcome(port, 'b.example')).toBe('ECONNRESET')
  expect(lines.join('')).toMatch(/connection denied sandbox=sb name=b\.example .*none that was answered for/)
  await expect.poll(() => flows.total).toBe(0)
  const { events } = record.page('sb', { after: 0, limit: 10 })
  events.sort((one, other) => (one.name ?? '').localeCompare(other.name ?? ''))
  expect(events.map(({ name, verdict, reason }) => [name, verdict, reason])).toEqual([
    ['a.example', 'allow', 'rule 0'],
    ['b.example', 'deny', expect.stringContaining('none that was answered')],
    ['c.example', 'deny', expect.stringContaining('is denied: no rule matches')],
  ])
  const [allowed, denied] = events
  expect(allowed).toMatchObject({ kind: 'connection', address: '127.0.0.1', protocol: 'tcp', port: tlsPort })
  expect(allowed?.bytesReceived).toBeGreaterThan(100)
  expect(denied?.bytesReceived).toBe(0)
})

test('HTTP goes through whole, in both directions, and only for an allowed host', async () => {
  const { port } = await openRelay(httpPort)
  expect(await get(port, 'a.example', 'x'.repeat(3_000_000))).toBe('200 a.example 3000000')
  expect(await get(port, 'c.example')).toBe('ECONNRESET')
})

test('a WebSocket goes through', async () => {
  const { port } = await openRelay(httpPort)
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { headers: { host: 'a.example' } })
  const echoed = new Promise((resolve, reject) => {
    socket.on('open', () => socket.send('hello'))
    socket.on('message', (data) => resolve(String(data)))
    socket.on('error', reject)
  })
  expect(await echoed).toBe('hello')
  socket.terminate()
})

test('a client that ends its half still hears the answer', async () => {
  const { port } = await openRelay(httpPort)
  const socket = connect({ port, host: '127.0.0.1' })
  socket.end('POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi')
  let text = ''
  for await (const chunk of socket) text += chunk
  expect(text).toMatch(/^HTTP\/1\.1 200 .*\r\n\r\n(2\r\n)?hi/s)
})

test('a client that says nothing is let go, and one that names no server', async () => {
  const { port } = await openRelay(httpPort)
  const outcome = (text: string) =>
    new Promise((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => socket.write(text))
      socket.on('error', (error) => resolve('code' in error ? error.code : error.message))
      socket.on('end', () => resolve('ended'))
    })
  expect(await outcome('')).toBe('ECONNRESET')
  expect(lines.join('')).toContain('it named no server within 0.3 seconds')
  expect(await outcome('\x00\x01')).toBe('ECONNRESET')
})

test('so many connections of one sandbox and no more; the next has room when one ends', async () => {
  const { port, flows } = await openRelay(tlsPort, { perSandbox: 1 })
  const first = await hold(port)
  expect(await tlsOutcome(port, 'a.example')).toBe('ECONNRESET')
  first.destroy()
  await expect.poll(() => flows.total).toBe(0)
  expect(await tlsOutcome(port, 'a.example')).toBe('hello')
})

test('R1: connections end with their name, and with their sandbox', async () => {
  const { port, flows, sandboxes, record } = await openRelay(tlsPort)
  const held = await hold(port)
  const closed = new Promise((resolve) => held.on('close', resolve))
  await sandboxes.changePolicy('sb', allowing('a.example', '127.0.0.0/8'))
  expect(flows.total).toBe(1)
  await sandboxes.changePolicy('sb', allowing('b.example', '127.0.0.0/8'))
  await closed
  await sandboxes.changePolicy('sb', allowing('a.example', '127.0.0.0/8'))
  await sandboxes.learn({ id: 'sb' }, 'a.example', ['127.0.0.1'], 60)
  const again = await hold(port)
  const gone = new Promise((resolve) => again.on('close', resolve))
  await sandboxes.remove('sb')
  await gone
  expect(await tlsOutcome(port, 'a.example')).toBe('ECONNRESET')
  // Nothing is kept of who is gone.
  await expect.poll(() => flows.total).toBe(0)
  expect(record.page('sb', { after: 0, limit: 10 }).events).toEqual([])
})

test('R1: a connection ends when a rule closes the address of its server', async () => {
  const { port, sandboxes } = await openRelay(tlsPort)
  const held = await hold(port)
  const closed = new Promise((resolve) => held.on('close', resolve))
  await sandboxes.changePolicy('sb', (policy) => ({
    ...policy,
    egress: [{ action: 'deny', target: '127.0.0.1' }, ...policy.egress],
  }))
  await closed
})

function allowing(...targets: string[]) {
  return (policy: NetworkPolicy): NetworkPolicy => ({
    ...policy,
    egress: targets.map((target) => ({ action: 'allow', target })),
  })
}

async function hold(port: number): Promise<Socket> {
  const socket = connectTls({ port, host: '127.0.0.1', servername: 'a.example', rejectUnauthorized: false })
  socket.on('error', () => socket.destroy())
  onTestFinished(() => void socket.destroy())
  await new Promise<void>((resolve) => socket.once('secureConnect', resolve))
  return socket
}

test('a server that is away, and one that breaks off, are told to the client', async () => {
  const away = createServer()
  const awayPort = await listen(away)
  await new Promise((resolve) => away.close(resolve))
  expect(await tlsOutcome((await openRelay(awayPort)).port, 'a.example')).toBe('ECONNRESET')
  const breaking = createServer((socket) => socket.once('data', () => socket.resetAndDestroy()))
  const { port } = await openRelay(await listen(breaking))
  expect(await get(port, 'a.example')).toBe('ECONNRESET')
})

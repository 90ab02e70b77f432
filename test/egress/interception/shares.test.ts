// What is kept for intercepted connections is kept for all sandboxes in one place: one that wants much of it must take nothing away
// from the others. The servers are real ones on the loopback addresses.

import { once } from 'node:events'
import { createSecureServer, type ServerHttp2Stream, type ServerOptions } from 'node:http2'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, createServer as createTls, type TLSSocket } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Http2Connection } from '../../../egress/http2/connection.ts'
import { makeAuthority } from '../../../egress/interception/authority.ts'
import { Http2Upstreams } from '../../../egress/interception/http2-upstreams.ts'
import { Leaves } from '../../../egress/interception/leaves.ts'
import { type Upstream, type UpstreamLimits, Upstreams } from '../../../egress/interception/upstreams.ts'
import { StallWatch } from '../../../egress/stall-watch.ts'
import { formatKey, makeCertificate, makeKeyPair } from '../../../lib/x509.ts'
import { DEAF, requestTo } from '../http2/ends.ts'

const DAY_MS = 86_400_000
const HOST = 'a.example'
const stalls = new StallWatch({ queuedBytesOf: () => 0 })
const world = makeAuthority('world', Date.now())
const LOUD = Array.from({ length: 12 }, (_, index) => `127.0.1.${index + 1}`)

function certificate() {
  const { privateKey, publicKey } = makeKeyPair()
  const now = Date.now()
  const cert = makeCertificate({
    name: HOST,
    publicKey,
    issuer: world,
    notBefore: now - DAY_MS,
    notAfter: now + DAY_MS,
    serverNames: [HOST],
  })
  return { key: formatKey(privateKey), cert }
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

function setup(limits: Partial<UpstreamLimits> = {}) {
  const upstreams = new Upstreams({ trust: createSecureContext({ ca: world.certificate }), limits })
  onTestFinished(() => upstreams.close())
  return upstreams
}

test('connections that are idle: who keeps many has no place for more, and the others have theirs', async () => {
  const port = await listen(createServer((socket) => void socket.on('error', () => {}).resume()))
  const upstreams = setup({ idle: { each: 4, total: 8 } })
  const keep = async (sandboxId: string, address: string) => {
    const to: Upstream = { scheme: 'http', host: HOST, port, sandboxId, address }
    const { socket } = await upstreams.dial(to, [])
    upstreams.keep(to, socket)
    return upstreams.hasIdle(to)
  }
  const loud = await Promise.all(LOUD.map((address) => keep('loud', address)))
  expect(loud.filter(Boolean)).toHaveLength(4)
  expect(await keep('quiet', '127.0.0.1')).toBe(true)
})

test('tickets: the next handshake of one that asks for few servers stays short beside one that asks for many', async () => {
  const echo = (socket: Socket) => void socket.on('error', () => {}).pipe(socket)
  const port = await listen(createTls(certificate(), echo))
  const upstreams = setup({ tickets: { each: 4, total: 8 } })
  const isShort = async (sandboxId: string, address: string) => {
    const { socket } = await upstreams.dial({ scheme: 'https', host: HOST, port, sandboxId, address }, [])
    // Behind its echo are the tickets, which the server sends first.
    socket.write('x')
    await once(socket, 'data')
    const isReused = (socket as TLSSocket).isSessionReused()
    socket.destroy()
    return isReused
  }
  expect(await isShort('quiet', '127.0.0.1')).toBe(false)
  for (const address of LOUD) await isShort('loud', address)
  expect(await isShort('quiet', '127.0.0.1')).toBe(true)
  expect(await isShort('loud', LOUD[0] ?? '')).toBe(false)
})

test('connections by HTTP/2: of one sandbox so many wait for requests, and those that are busy go on', async () => {
  const server = createSecureServer(certificate())
  server.on('stream', (stream) => stream.respond({ ':status': 200 }))
  const port = await listen(server)
  const upstreams = new Http2Upstreams({ upstreams: setup(), stalls, each: 3 })
  onTestFinished(() => upstreams.close())
  const to = (sandboxId: string, address: string): Upstream => ({
    ...{ scheme: 'https', host: HOST, port },
    sandboxId,
    address,
  })
  await upstreams.open(to('quiet', '127.0.0.1'))
  const [first = '', ...others] = LOUD
  const busy = await upstreams.open(to('loud', first))
  await new Promise<void>((resolve) => {
    const listener = { ...DEAF, onAnswer: () => resolve() }
    busy.request(requestTo(`${HOST}:${port}`), { listener, isWhole: true, isHead: false })
  })
  for (const address of others) await upstreams.open(to('loud', address))
  const kept = LOUD.filter((address) => upstreams.find(to('loud', address)))
  expect(kept).toEqual([first, ...LOUD.slice(-2)])
  expect(upstreams.find(to('quiet', '127.0.0.1'))).toBeDefined()
  expect(upstreams.size).toBe(4)
})

test('connections by HTTP/2: a server may send less ahead on those beyond the first of a sandbox', async () => {
  const windows: (number | undefined)[] = []
  const server = createSecureServer(certificate())
  const told = new Promise<void>((resolve) => {
    server.on('session', (session) =>
      session.once('remoteSettings', ({ initialWindowSize }) => {
        windows.push(initialWindowSize)
        if (windows.length === LOUD.length) resolve()
      }),
    )
  })
  const port = await listen(server)
  const upstreams = new Http2Upstreams({ upstreams: setup(), stalls })
  onTestFinished(() => upstreams.close())
  for (const address of LOUD)
    await upstreams.open({ scheme: 'https', host: HOST, port, sandboxId: 'loud', address })
  await told
  expect(windows).toEqual([...Array(8).fill(65_536), ...Array(4).fill(16_384)])
})

describe('connections by HTTP/2 to one server', () => {
  const setupOne = async (options: ServerOptions, serve: (stream: ServerHttp2Stream) => void) => {
    const server = createSecureServer({ ...certificate(), ...options })
    server.on('stream', serve).on('sessionError', () => {})
    const port = await listen(server)
    const upstreams = new Http2Upstreams({ upstreams: setup(), stalls, each: 5 })
    onTestFinished(() => upstreams.close())
    const to = { scheme: 'https' as const, host: HOST, port, sandboxId: 'sb', address: '127.0.0.1' }
    const ask = async (onData?: () => void) => {
      const connection = await upstreams.open(to)
      return await new Promise<Http2Connection>((resolve) => {
        const listener = { ...DEAF, onAnswer: () => resolve(connection), ...(onData && { onData }) }
        connection.request(requestTo(`${HOST}:${port}`), { listener, isWhole: true, isHead: false })
      })
    }
    return { upstreams, to, ask }
  }

  test('one that holds what nobody reads gets no more requests, as long as there are few', async () => {
    const { upstreams, to, ask } = await setupOne({}, (stream) => {
      stream.respond({ ':status': 200 })
      stream.end(Buffer.alloc(65_536))
    })
    const used = new Set<Http2Connection>()
    // As many as take 4 MiB.
    const many = 64
    for (let count = 0; count < 4; count++) {
      const asked = await Promise.all(Array.from({ length: many }, () => ask(() => {})))
      for (const connection of asked) used.add(connection)
      await expect.poll(() => [...used].every(({ isClogged }) => isClogged)).toBe(true)
    }
    expect(used.size).toBe(4)
    expect(upstreams.find(to)).toBeDefined()
  })

  test('a sandbox that has as many as it may waits for those that it has', async () => {
    const { upstreams, to, ask } = await setupOne({ settings: { maxConcurrentStreams: 1 } }, (stream) =>
      stream.respond({ ':status': 200 }),
    )
    const used = new Set<Http2Connection>()
    for (let count = 0; count < 5; count++) {
      const connection = await ask()
      used.add(connection)
      await expect.poll(() => connection.isFull).toBe(true)
    }
    expect(used.size).toBe(5)
    const waiting = await upstreams.open(to)
    expect(used).toContain(waiting)
    expect(upstreams.size).toBe(5)
  })

  test('as many requests wait for one that is being opened as it takes for certain', async () => {
    const { upstreams, to } = await setupOne({}, (stream) => stream.respond({ ':status': 200 }))
    const opened = await Promise.all(Array.from({ length: 150 }, () => upstreams.open(to)))
    expect(new Set(opened).size).toBe(2)
    expect(opened.filter((connection) => connection === opened[0])).toHaveLength(100)
  })
})

test('certificates: who asks for many names loses its own first', () => {
  const leaves = new Leaves({ each: 4, total: 8 })
  const authority = makeAuthority('sb', Date.now())
  const quiet = leaves.contextOf('quiet', authority, HOST)
  const loud = leaves.contextOf('loud', authority, 'n.example')
  for (let count = 0; count < 12; count++) leaves.contextOf('loud', authority, `n${count}.example`)
  expect(leaves.contextOf('quiet', authority, HOST)).toBe(quiet)
  expect(leaves.contextOf('loud', authority, 'n.example')).not.toBe(loud)
  leaves.remove('loud')
  expect(leaves.size).toBe(1)
})

// What takes too long, with the clock moved by the test: the gateway's one clock is `performance.now`.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { CONNECT_TIMEOUT_MS, FIRST_BYTE_TIMEOUT_MS, STALL_TIMEOUT_MS } from '../../gateway/relay/forward.ts'
import { LIMITS } from '../../gateway/server.ts'
import { dial, head, startAnswering, startGateway, startRaw } from './support.ts'

let ahead = 0
const lookers = new Set<() => void>()
/** Resolves once the gateway has looked at its clock so often, and so has dealt with what came before. */
async function looks(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await new Promise<void>((resolve) => lookers.add(resolve))
}

beforeEach(() => {
  ahead = 0
  const real = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => {
    for (const wake of lookers) wake()
    lookers.clear()
    return real() + ahead
  })
})
afterEach(() => {
  vi.restoreAllMocks()
})

test('an idle connection outlives the 95 s of the SDKs, and not much more', async () => {
  const gateway = await startGateway()
  const upstream = await startAnswering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  gateway.routes.put('a', upstream.port)
  const client = dial(gateway.port).send(head('GET /'))
  await client.read('ok')
  client.take()
  ahead += 95_000
  client.send(head('GET /'))
  await client.read('ok')
  ahead += LIMITS.idleTimeoutMs + 1000
  expect(await client.ended()).not.toContain('408')
})

test('a head that does not end: 408', async () => {
  const gateway = await startGateway()
  const client = dial(gateway.port).send('GET / HTTP/1.1\r\nX-Slow: ')
  const other = dial(gateway.port).send('GET /status.ok HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await other.read('OK')
  client.send('a')
  await looks(3)
  ahead += LIMITS.headTimeoutMs + 1000
  expect(await client.ended()).toMatch(/^HTTP\/1\.1 408 [\s\S]*GENERAL::REQUEST_TIMEOUT/)
})

test('a sandbox that never begins its answer: 504 after ten minutes, and not before', async () => {
  const gateway = await startGateway()
  const upstream = await startRaw()
  gateway.routes.put('a', upstream.port)
  const client = dial(gateway.port).send(head('GET /'))
  const peer = await upstream.peer(0)
  await peer.read('\r\n\r\n')
  ahead += FIRST_BYTE_TIMEOUT_MS - 5000
  await looks(3)
  expect(client.text).toBe('')
  ahead += 10_000
  expect(await client.read('}')).toMatch(/504 [\s\S]*BACKEND_TIMEOUT/)
  await peer.ended()
})

test('P5: a stream may be silent for as long as it likes', async () => {
  const gateway = await startGateway()
  const upstream = await startRaw()
  gateway.routes.put('a', upstream.port)
  const client = dial(gateway.port).send(head('GET /'))
  const peer = await upstream.peer(0)
  await peer.read('\r\n\r\n')
  peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n')
  await client.read('one')
  ahead += 24 * 3600_000
  await looks(3)
  peer.send('3\r\ntwo\r\n0\r\n\r\n')
  await client.read('two')
})

test('a client that takes nothing of its answer is cut off', async () => {
  const gateway = await startGateway()
  const upstream = await startRaw()
  gateway.routes.put('a', upstream.port)
  const client = dial(gateway.port).send(head('GET /'))
  const peer = await upstream.peer(0)
  await peer.read('\r\n\r\n')
  client.socket.pause()
  peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${2 ** 30}\r\n\r\n`)
  const block = Buffer.alloc(2 ** 20)
  for (let at = 0; at < 48; at++) peer.socket.write(block)
  // The gateway takes no more of it either.
  for (let left = -1; left !== peer.socket.writableLength; ) {
    left = peer.socket.writableLength
    await looks(5)
  }
  ahead += STALL_TIMEOUT_MS + 1000
  await peer.ended()
})

test('a connection that is not taken: 504', async () => {
  // 192.0.2.0/24 is for documentation: nobody answers there, or the machine says at once that it has no way.
  const gateway = await startGateway()
  gateway.routes.put('a', 1, { ports: { 8000: { host: '192.0.2.1', port: 9 } } })
  const client = dial(gateway.port).send(head('GET /'))
  await looks(3)
  ahead += CONNECT_TIMEOUT_MS + 1000
  expect(await client.read('}')).toMatch(/50[24] [\s\S]*BACKEND_(TIMEOUT|CONNECTION_FAILED)/)
})

test('a slow client gets the whole of an answer after which the connection closes', async () => {
  const gateway = await startGateway()
  const upstream = await startRaw()
  gateway.routes.put('a', upstream.port)
  const client = dial(gateway.port).send(head('GET /', 'Connection: close'))
  const peer = await upstream.peer(0)
  await peer.read('\r\n\r\n')
  // More than the kernel keeps for both, so that the last of it waits in the gateway when the sandbox has said all.
  const size = 8 * 2 ** 20
  let untilPause = 2 ** 19
  client.socket.on('data', (chunk: Buffer) => {
    untilPause -= chunk.length
    if (untilPause > 0) return
    untilPause = 2 ** 19
    ahead += 60_000
    client.socket.pause()
    setTimeout(() => client.socket.resume(), 30)
  })
  peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
  peer.socket.write(Buffer.alloc(size, 'z'))
  const text = await client.ended()
  expect(text.length - text.indexOf('\r\n\r\n') - 4).toBe(size)
})

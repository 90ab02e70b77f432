// Either side is gone after every single byte: nobody behind takes half a request for a whole one, nobody in front half an
// answer, and no connection is left over.

import { createServer } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { waitUntil } from '../../support/wait-for.ts'
import { dial, exchange, head, startGateway, startRaw, type TestGateway } from '../support.ts'

/** Resolves when the gateway has no clients any more. */
async function untilEmpty({ server }: TestGateway): Promise<void> {
  const count = () => new Promise<number>((resolve) => server.getConnections((_, found) => resolve(found)))
  await waitUntil(async () => (await count()) === 0, { interval: 5 })
}

async function startCounting(): Promise<{ port: number; bodies: string[]; open: () => number }> {
  const bodies: string[] = []
  let open = 0
  const server = createServer((request, response) => {
    let body = ''
    request
      .on('data', (chunk) => {
        body += String(chunk)
      })
      .on('error', () => {})
      .on('end', () => {
        bodies.push(`${request.method} ${body}`)
        response.end('ok')
      })
  })
  server.on('connection', (socket) => {
    open++
    socket.on('close', () => open--)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const address = server.address()
  return { port: typeof address === 'object' && address ? address.port : 0, bodies, open: () => open }
}

test.each([
  ['a length', `${head('POST /', 'Content-Length: 5')}hello`, 'POST hello'],
  ['chunks', `${head('POST /', 'Transfer-Encoding: chunked')}5\r\nhello\r\n0\r\nX: y\r\n\r\n`, 'POST hello'],
  ['no body', head('GET /'), 'GET '],
])('a client that resets after each byte of a request with %s', async (_name, bytes, whole) => {
  const gateway = await startGateway()
  const upstream = await startCounting()
  gateway.routes.put('a', upstream.port)
  for (let cut = 0; cut < bytes.length; cut++) {
    const client = dial(gateway.port)
    await new Promise((resolve) => client.socket.write(bytes.slice(0, cut), 'latin1', resolve))
    client.socket.resetAndDestroy()
  }
  await untilEmpty(gateway)
  expect(upstream.bodies).toEqual([])
  expect(await exchange(gateway.port, bytes.replace('Host', 'Connection: close\r\nHost'))).toContain('ok')
  expect(upstream.bodies).toEqual([whole])
})

test('a client that resets after a whole request and each byte of the next: one comes whole', async () => {
  const gateway = await startGateway()
  const upstream = await startCounting()
  gateway.routes.put('a', upstream.port)
  const next = `${head('POST /', 'Content-Length: 4')}evil`
  let rounds = 0
  for (let cut = 1; cut < next.length; cut += 3, rounds++) {
    const client = dial(gateway.port).send(`${head('GET /')}${next.slice(0, cut)}`)
    await client.read('ok')
    client.socket.resetAndDestroy()
  }
  await untilEmpty(gateway)
  expect(upstream.bodies).toEqual(Array.from({ length: rounds }, () => 'GET '))
})

test.each([
  ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', /hello$/],
  [
    'chunks',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    /\r\n0\r\n\r\n$/,
  ],
  [
    'an interim one',
    'HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 204 No Content\r\nX: y\r\n\r\n',
    /HTTP\/1\.1 204/,
  ],
])('a sandbox that resets after each byte of an answer with %s', async (_name, bytes, whole) => {
  const gateway = await startGateway()
  let cut = 0
  const upstream = await startRaw((peer) => {
    peer.socket.on('data', () => {
      peer.socket.write(bytes.slice(0, cut), 'latin1', () => peer.socket.resetAndDestroy())
    })
  })
  gateway.routes.put('a', upstream.port)
  for (cut = 0; cut < bytes.length; cut++) {
    const client = dial(gateway.port).send(`${head('POST /', 'Content-Length: 1', 'Connection: close')}x`)
    const text = await client.ended()
    client.socket.destroy()
    const final = text.replace(/^HTTP\/1\.1 103 [\s\S]*?\r\n\r\n/, '')
    expect(final).not.toMatch(whole)
    if (!final.includes('200 OK')) expect(final).toMatch(/^HTTP\/1\.1 502 |^$/)
  }
  await untilEmpty(gateway)
})

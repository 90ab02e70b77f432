import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type ServerOptions, WebSocket, WebSocketServer } from 'ws'
import { dial, head, startGateway, startRaw } from '../support.ts'

const UPGRADE = [
  'Connection: keep-alive, Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Key: k',
  'Authorization: t',
]
const SWITCH =
  'HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n'

async function startPair() {
  const gateway = await startGateway()
  const upstream = await startRaw()
  gateway.routes.put('a', upstream.port)
  return { gateway, upstream }
}

/** A client that has asked for an upgrade, and the sandbox's side that has been asked. */
async function startAsking() {
  const { gateway, upstream } = await startPair()
  const client = dial(gateway.port).send(head('GET /', ...UPGRADE))
  const peer = await upstream.peer(0)
  await peer.read('\r\n\r\n')
  return { gateway, client, peer }
}

async function startTunnel() {
  const asking = await startAsking()
  asking.peer.send(`${SWITCH}\r\n`)
  await asking.client.read('101')
  return asking
}

/** A server of WebSockets behind a gateway, as the sandbox `a`. */
async function startWebSockets(options: ServerOptions) {
  const server = createServer()
  const sockets = new WebSocketServer({ ...options, server })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const gateway = await startGateway()
  gateway.routes.put('a', (server.address() as AddressInfo).port)
  onTestFinished(() => {
    for (const socket of sockets.clients) socket.terminate()
    server.close()
  })
  return { gateway, sockets }
}

describe('an upgrade', () => {
  test('passes all end-to-end fields, the bytes sent ahead on both sides, and then bytes', async () => {
    const { gateway, upstream } = await startPair()
    const client = dial(gateway.port).send(`${head('GET /ws?x', ...UPGRADE)}ahead`)
    const peer = await upstream.peer(0)
    const asked = await peer.read('\r\n\r\n')
    expect(asked).toMatch(/^GET \/ws\?x HTTP\/1\.1\r\n/)
    for (const line of [
      'Sec-WebSocket-Key: k',
      'Authorization: t',
      'Connection: Upgrade',
      'Upgrade: websocket',
    ])
      expect(asked).toContain(`${line}\r\n`)
    expect(asked).not.toContain('ahead')
    peer.take()
    peer.send(`${SWITCH}Connection: x-hop\r\nX-Hop: 1\r\n\r\nfirst`)
    const answer = await client.read('first')
    expect(answer).toContain('Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n')
    expect(answer).not.toContain('X-Hop')
    await peer.read('ahead')
    client.send('\x00\xff ping')
    await peer.read('\x00\xff ping')
    peer.send('pong\r\n\r\n')
    await client.read('pong')
  })

  test('ends one direction at a time', async () => {
    const { client, peer } = await startTunnel()
    client.socket.end('last words')
    expect(await peer.ended()).toContain('last words')
    peer.send('answer to them').socket.end()
    expect(await client.ended()).toContain('answer to them')
  })

  test.each(['client', 'sandbox'])('ends when the %s breaks', async (who) => {
    const { client, peer } = await startTunnel()
    const [leaving, left] = who === 'client' ? [client, peer] : [peer, client]
    leaving.socket.resetAndDestroy()
    await left.ended()
  })

  test('ends with the sandbox', async () => {
    const { gateway, client, peer } = await startTunnel()
    gateway.routes.delete('a')
    await Promise.all([client.ended(), peer.ended()])
  })

  test('that is refused is an answer like any other', async () => {
    const { client, peer } = await startAsking()
    peer.send('HTTP/1.1 401 No\r\nContent-Length: 3\r\n\r\nbad')
    expect(await client.read('bad')).toContain('401 No')
    client.send(head('GET /next'))
    await peer.read('GET /next')
  })

  test('to HTTP/2 is not asked for, as nothing could be checked in it', async () => {
    const { gateway, upstream } = await startPair()
    dial(gateway.port).send(
      head('GET /', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: x'),
    )
    const peer = await upstream.peer(0)
    expect(await peer.read('\r\n\r\n')).not.toMatch(/upgrade|h2c|http2/i)
  })

  test('carries WebSockets in all three ways of naming a sandbox, 8 MB messages too', async () => {
    const { gateway, sockets } = await startWebSockets({ handleProtocols: () => 'chat' })
    sockets.on('connection', (socket, request) => {
      socket.send(request.url ?? '')
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
    })
    const base = `ws://127.0.0.1:${gateway.port}`
    for (const [url, headers] of [
      [`${base}/x?y=1`, { host: 'a-8000.localhost' }],
      [`${base}/x?y=1`, { 'OpenSandbox-Ingress-To': 'a-8000' }],
      [`${base}/sandboxes/a/proxy/8000/x?y=1`, {}],
    ] as const) {
      const socket = new WebSocket(url, ['chat'], { headers })
      const messages: Buffer[] = []
      const big = Buffer.alloc(8 * 2 ** 20, 'z')
      await new Promise<void>((resolve, reject) => {
        socket.on('error', reject)
        socket.on('message', (data: Buffer) => {
          messages.push(data)
          if (messages.length === 1) socket.send(big)
          else socket.close(4001, 'done')
        })
        socket.on('close', (code) => (code === 4001 ? resolve() : reject(new Error(`Closed with ${code}`))))
      })
      expect(String(messages[0])).toBe('/x?y=1')
      expect(messages[1]?.equals(big)).toBe(true)
      expect(socket.protocol).toBe('chat')
    }
  })

  test('L13: pings are for the two ends: they pass both ways, and the gateway makes none', async () => {
    const { gateway, sockets } = await startWebSockets({ autoPong: false })
    const seen: string[] = []
    sockets.on('connection', (socket) => {
      socket.on('ping', (data) => {
        seen.push(`ping ${String(data)}`)
        // Answers late, and asks in turn: whoever counts pings in between would be seen, or give up.
        socket.ping('from the program')
        socket.pong(data)
      })
      socket.on('pong', (data) => socket.close(4001, String(data)))
    })
    const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/`, { headers: { host: 'a-8000.localhost' } })
    const got: string[] = []
    socket.on('open', () => socket.ping('from the client'))
    for (const kind of ['ping', 'pong'] as const)
      socket.on(kind, (data: Buffer) => got.push(`${kind} ${String(data)}`))
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer]
    expect([code, String(reason)]).toEqual([4001, 'from the program'])
    expect(seen).toEqual(['ping from the client'])
    expect(got).toEqual(['ping from the program', 'pong from the client'])
  })
})

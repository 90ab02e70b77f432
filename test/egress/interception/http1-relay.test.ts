// One connection of a client, whose server is whatever the test opens.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setInterval } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { Exchange } from '../../../egress/interception/exchange.ts'
import { Http1Relay, type Http1RelayOptions } from '../../../egress/interception/http1-relay.ts'
import { SecretFinder } from '../../../egress/interception/secret-finder.ts'
import { openQueuedBytes } from '../../../egress/queued-bytes.ts'
import { StallWatch } from '../../../egress/stall-watch.ts'
import type { Injection } from '../../../egress/vault/port.ts'
import { flood, lookUntil } from '../stalling.ts'

const HOLDS: Injection = {
  kind: 'inject',
  binding: 'b',
  revision: 1,
  headers: [],
  substitutions: [{ placeholder: 'PLACE', value: 'secret', in: ['body'] }],
  secrets: ['secret'],
}

/** A client of a relay. */
async function begin(options: Partial<Http1RelayOptions>): Promise<Socket> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    client.on('error', () => client.destroy())
    new Http1Relay({
      server: { scheme: 'http', host: 'a.example', port: 80 },
      vault: () => undefined,
      holdBody: () => () => {},
      onExchange: () => {},
      open: () => Promise.reject(new Error('no server is needed')),
      keep: (upstream) => upstream.destroy(),
      reset: () => client.resetAndDestroy(),
      onFault: () => {},
      secrets: new SecretFinder(),
      stalls: new StallWatch({ queuedBytesOf: () => 0 }),
      client,
      ...options,
    }).begin()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  onTestFinished(() => {
    socket.destroy()
    server.close()
  })
  return socket
}

/** A server that says back all that it was sent once it has seen the end of a head and this text. */
async function beginEcho(until: string): Promise<() => Promise<Socket>> {
  const server = createServer((socket) => {
    let seen = ''
    socket.on('data', (chunk) => {
      seen += chunk
      if (seen.endsWith(until))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(seen)}\r\n\r\n${seen}`)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return async () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    return socket
  }
}

test.each([
  [
    'at once',
    () => {
      throw new TypeError('not a function')
    },
  ],
  ['later', () => Promise.reject(new TypeError('not a function'))],
])('a fault of ours on the way to a server, %s, is told, and its client is answered', async (_, open) => {
  const faults: unknown[] = []
  const client = await begin({ open, onFault: (error) => void faults.push(error) })
  client.write('GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
  const answer = await text(client)
  expect(answer).toMatch(/^HTTP\/1\.1 502 [\s\S]*there is no connection to the server a\.example/)
  expect(answer).not.toContain('not a function')
  expect(faults).toEqual([expect.any(TypeError)])
})

test('a client that asks for nothing is not waited for longer than it may take', async () => {
  expect(await text(await begin({ requestMs: 20 }))).toBe('')
})

test('a client that never comes to the end of its head is told so', async () => {
  const client = await begin({ requestMs: 200 })
  client.write('GET / HTTP/1.1\r\nHost: a.exam')
  expect(await text(client)).toMatch(/^HTTP\/1\.1 408 [\s\S]*no whole request/)
})

test('a client is waited for anew after each of its requests', async () => {
  const client = await begin({ open: await beginEcho('\r\n\r\n'), requestMs: 100 })
  client.write('GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n')
  expect(await text(client)).toContain('GET /1')
})

test.each([
  ['1.1', true],
  ['1.0', false],
])(
  'a client of HTTP/%s that expects to be asked for a body that is held is asked: %s',
  async (version, isAsked) => {
    const client = await begin({
      open: await beginEcho('a secret'),
      vault: () => ({ revision: 1, hasBindingFor: () => true, choose: () => HOLDS }),
    })
    const fields = 'Host: a.example\r\nConnection: close\r\nContent-Length: 7\r\nExpect: 100-continue\r\n'
    client.write(`POST / HTTP/${version}\r\n${fields}\r\na PLACE`)
    const answer = await text(client)
    expect(answer.startsWith('HTTP/1.1 100 Continue\r\n\r\n')).toBe(isAsked)
    expect(answer).toContain(`POST / HTTP/${version}`)
    expect(answer).toContain('a secret')
  },
)

test.each([
  ['asks for no body', false, ''],
  ['asks for the body', true, 'HTTP/1.1 100 Continue\r\n\r\n'],
])(
  'a server that %s of a client that waits for that is good for another request: %s',
  async (_, isKept, interim) => {
    let kept = 0
    const server = createServer((socket) => {
      socket.once('data', () => socket.write(`${interim}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const client = await begin({
      open: async () => {
        const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
        await once(socket, 'connect')
        return socket
      },
      keep: (upstream) => {
        kept++
        upstream.destroy()
      },
    })
    const fields = 'Host: a.example\r\nConnection: close\r\nContent-Length: 1\r\nExpect: 100-continue\r\n'
    client.write(`POST / HTTP/1.1\r\n${fields}\r\na`)
    expect(await text(client)).toContain('HTTP/1.1 200 OK')
    expect(kept).toBe(isKept ? 1 : 0)
  },
)

test('a client whose head comes in very many pieces is answered', async () => {
  const client = await begin({ open: await beginEcho('\r\n\r\n') })
  client.setNoDelay(true)
  const pieces = [
    'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nX: ',
    ...'x'.repeat(2000),
    '\r\n\r\n',
  ]
  for (const piece of pieces) await new Promise<void>((resolve) => client.write(piece, () => resolve()))
  expect(await text(client)).toMatch(/^HTTP\/1\.1 200 /)
})

/** A client whose server goes on by another protocol, and the server's end of that. */
async function beginTunnel(options: Partial<Http1RelayOptions>) {
  const { promise: switched, resolve } = Promise.withResolvers<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', () => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello',
      )
      resolve(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const { promise: over, resolve: end } = Promise.withResolvers<Exchange>()
  const client = await begin({
    open: async () => {
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      await once(socket, 'connect')
      return socket
    },
    onExchange: end,
    ...options,
  })
  client.on('error', () => {})
  client.write('GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  const origin = await switched
  onTestFinished(() => {
    origin.destroy()
    server.close()
  })
  return { client, origin, over }
}

const QUICK = { unreadMs: 60_000, lingerMs: 60_000, silentMs: 20 }

test('by another protocol bytes pass in both directions, and either side hears that the other has said everything', async () => {
  const { client, origin, over } = await beginTunnel({ linger: QUICK })
  origin.pipe(origin)
  client.end('to and fro')
  expect(await text(client)).toMatch(/^HTTP\/1\.1 101 [\s\S]*\r\n\r\nhelloto and fro$/)
  expect(await over).toMatchObject({ status: 101 })
})

test.each([
  ['says nothing', { ...QUICK }, () => {}],
  ['goes on', { ...QUICK, silentMs: 60_000, lingerMs: 50 }, drip],
])(
  'by another protocol a client that %s and does not end, after its server has, is let go',
  async (_, linger, keepOn) => {
    const { client, origin, over } = await beginTunnel({ linger })
    const said = text(client)
    origin.end(' and goodbye')
    expect(await said).toMatch(/\r\n\r\nhello and goodbye$/)
    await Promise.all([over, keepOn(client)])
  },
)

test('by another protocol a server that breaks off is told to its client', async () => {
  const { client, origin, over } = await beginTunnel({})
  const failed = once(client, 'error')
  await once(client, 'data')
  origin.resetAndDestroy()
  expect(await failed).toMatchObject([{ code: 'ECONNRESET' }])
  await over
})

/** Sends a little every few milliseconds until the connection is gone. */
async function drip(client: Socket): Promise<void> {
  for await (const _ of setInterval(5)) {
    if (client.destroyed) return
    client.write('x')
  }
}

async function lookUntilOver(stalls: StallWatch, over: Promise<unknown>): Promise<void> {
  let isOver = false
  void over.finally(() => {
    isOver = true
  })
  await lookUntil(stalls, () => isOver)
}

const setupStalls = () => new StallWatch({ queuedBytesOf: openQueuedBytes() })

test('a client that takes nothing of an answer for too long is let go, and its server', async () => {
  const stalls = setupStalls()
  const { promise: over, resolve } = Promise.withResolvers<Exchange>()
  const { promise: gone, resolve: goes } = Promise.withResolvers<void>()
  const open = await beginServer((socket) => {
    socket.once('close', () => goes())
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n')
      flood(socket)
    })
  })
  const client = await begin({ stalls, onExchange: resolve, open })
  client.pause()
  client.write('GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
  await lookUntilOver(stalls, over)
  expect((await over).refusal).toBe('its client took nothing of the answer for too long')
  await gone
})

test('a server that takes nothing of a request for too long is let go, and its client is answered', async () => {
  const stalls = setupStalls()
  const { promise: over, resolve } = Promise.withResolvers<Exchange>()
  const open = await beginServer((socket) => void socket.pause())
  const client = await begin({ stalls, onExchange: resolve, open })
  client.on('error', () => {})
  const answer = once(client.setEncoding('utf8'), 'data')
  client.write('PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000000\r\n\r\n')
  flood(client)
  await lookUntilOver(stalls, over)
  expect((await answer)[0]).toMatch(
    /^HTTP\/1\.1 504 [\s\S]*a\.example.* took nothing of the request for too long/,
  )
})

test('by another protocol who takes nothing for too long is let go, and who is silent may be', async () => {
  // The kernel may take its time to say that something was taken.
  const stalls = new StallWatch({ queuedBytesOf: () => 0 })
  const { client, origin, over } = await beginTunnel({ stalls })
  await once(client, 'data')
  for (let looks = 1; looks < 5; looks++) stalls.look(looks * stalls.limitMs)
  client.write('still there')
  expect(String((await once(origin, 'data'))[0])).toBe('still there')
  origin.pause()
  flood(client)
  await lookUntilOver(stalls, over)
  expect(await over).toMatchObject({ status: 101, refusal: expect.stringContaining('took nothing') })
})

/** Opens connections to a server that does this with each. */
async function beginServer(serve: (socket: Socket) => void): Promise<() => Promise<Socket>> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}))
    serve(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return async () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
}

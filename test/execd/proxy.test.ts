// The proxy route against real servers on the loopback.

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  request,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { type Daemon, outputOf, parseEvents, startDaemon, until } from './daemon.ts'

const TOKEN = { 'X-EXECD-ACCESS-TOKEN': 'secret-token' }
const MIB = 1 << 20

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const ownPort = () => Number(new URL(execd.url).port)

/** A program of the sandbox: its port, and the connections that were made to it. */
async function serve(listener: RequestListener): Promise<{ port: number; connections: Socket[] }> {
  const server = createServer(listener)
  const connections: Socket[] = []
  server.on('connection', (socket) => connections.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, connections }
}

/** A program that answers every connection with these bytes, whatever it was asked. */
async function serveBytes(bytes: string): Promise<number> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(bytes, 'latin1'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

type Ask = { method?: string; headers?: Record<string, string>; body?: Buffer | string }
type Heard = { response: IncomingMessage; body: Buffer }

/** Asks through the proxy, by Node's own client, which hides nothing. */
async function ask(path: string, { method = 'GET', headers = {}, body }: Ask = {}): Promise<Heard> {
  const outgoing = request(`${execd.url}${path}`, { method, headers: { ...TOKEN, ...headers }, agent: false })
  outgoing.end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  // What an answer comes before is of no use any more.
  outgoing.on('error', () => {})
  return { response, body: await bodyOf(response) }
}

async function bodyOf(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describe('requests', () => {
  test('reach the program with method, raw path, query and body, and its answer comes back', async () => {
    const { port } = await serve(async (incoming, response) => {
      const body = await bodyOf(incoming)
      response.writeHead(418, 'Teapot', { 'X-Mine': 'yes', 'Set-Cookie': ['a=1', 'b=2'] })
      response.end(`${incoming.method} ${incoming.url} ${incoming.headers.host} ${body}`)
    })
    const { response, body } = await ask(`/proxy/${port}/a%2Fb//c?d=%20&e`, {
      method: 'PATCH',
      body: 'hello',
    })
    expect(response.statusCode).toBe(418)
    expect(response.statusMessage).toBe('Teapot')
    expect(response.headers['x-mine']).toBe('yes')
    expect(response.headers['set-cookie']).toEqual(['a=1', 'b=2'])
    expect(body.toString()).toBe(`PATCH /a%2Fb//c?d=%20&e 127.0.0.1:${port} hello`)
  })

  test('X5: the token reaches no program of the sandbox, and who asked does', async () => {
    const { port } = await serve((incoming, response) => response.end(JSON.stringify(incoming.headers)))
    const headers = { 'X-Forwarded-For': '1.2.3.4', 'X-Forwarded-Host': 'outer', Authorization: 'mine' }
    const { body } = await ask(`/proxy/${port}/`, { headers })
    expect(body.toString()).not.toContain('secret-token')
    expect(JSON.parse(body.toString())).toEqual({
      host: `127.0.0.1:${port}`,
      authorization: 'mine',
      'x-forwarded-for': '1.2.3.4, 127.0.0.1',
      'x-forwarded-proto': 'http',
      connection: 'keep-alive',
    })
  })

  test.each([
    [403, ''],
    [500, 'broken'],
    [404, 'nothing here'],
    [302, ''],
  ])('pass a status %i through', async (status, text) => {
    const { port } = await serve((_incoming, response) => response.writeHead(status).end(text))
    const { response, body } = await ask(`/proxy/${port}/`)
    expect([response.statusCode, body.toString()]).toEqual([status, text])
  })

  test('need the token', async () => {
    const { port, connections } = await serve((_incoming, response) => response.end())
    const response = await fetch(`${execd.url}/proxy/${port}/`)
    expect(response.status).toBe(401)
    expect(connections).toEqual([])
  })

  test.each([
    ['/proxy', 'port is required'],
    ['/proxy/', 'port is required'],
    ['/proxy/99999/x', 'port must be a number from 1 to 65535: found "99999"'],
  ])('to %s are refused: %s', async (path, text) => {
    const { response, body } = await ask(path)
    expect([response.statusCode, body.toString()]).toEqual([400, text])
    expect(response.headers['content-type']).toContain('text/plain')
  })

  test('to a port where nobody listens hear Bad Gateway, with a body or without', async () => {
    const port = await serveBytes('')
    for (const body of [undefined, randomBytes(3 * MIB)]) {
      const heard = await ask(`/proxy/${port}/x`, { method: 'POST', ...(body ? { body } : {}) })
      expect([heard.response.statusCode, heard.body.toString()]).toEqual([502, 'Bad Gateway'])
    }
    const { response } = await ask('/proxy/1/x')
    expect(response.statusCode).toBe(502)
  })
})

describe('bodies', () => {
  test('of any size go both ways unchanged', async () => {
    const { port } = await serve((incoming, response) => incoming.pipe(response))
    const body = randomBytes(24 * MIB)
    const heard = await ask(`/proxy/${port}/`, { method: 'PUT', body })
    expect(sha(heard.body)).toBe(sha(body))
  })

  test('in chunks stay in chunks, trailers included, both ways', async () => {
    const { port } = await serve(async (incoming, response) => {
      const body = await bodyOf(incoming)
      response.writeHead(200, { Trailer: 'X-Answered' })
      response.write(`${incoming.headers['transfer-encoding']} ${body} ${incoming.trailers['x-sum']}`)
      response.addTrailers({ 'X-Answered': 'yes', 'Set-Cookie': 'no=1' })
      response.end()
    })
    const outgoing = request(`${execd.url}/proxy/${port}/`, {
      method: 'GET',
      headers: { ...TOKEN, 'Transfer-Encoding': 'chunked', Trailer: 'X-Sum' },
      agent: false,
    })
    outgoing.write('one')
    outgoing.write('two')
    outgoing.addTrailers({ 'X-Sum': '6', 'X-EXECD-ACCESS-TOKEN': 'secret-token' })
    outgoing.end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    expect((await bodyOf(response)).toString()).toBe('chunked onetwo 6')
    expect(response.trailers).toEqual({ 'x-answered': 'yes' })
  })

  test('that nobody sent are told as empty', async () => {
    const { port } = await serve((incoming, response) => {
      response.end(
        JSON.stringify([incoming.headers['content-length'], incoming.headers['transfer-encoding']]),
      )
    })
    const { body } = await ask(`/proxy/${port}/`, { method: 'POST', headers: { 'Content-Length': '0' } })
    expect(JSON.parse(body.toString())).toEqual(['0', null])
  })

  test('of a client that waits to be asked are asked for', async () => {
    const { port } = await serve(async (incoming, response) => {
      response.end(`${await bodyOf(incoming)} ${incoming.headers.expect}`)
    })
    const outgoing = request(`${execd.url}/proxy/${port}/`, {
      method: 'POST',
      headers: { ...TOKEN, Expect: '100-continue', 'Content-Length': '4' },
      agent: false,
    })
    outgoing.flushHeaders()
    await once(outgoing, 'continue')
    outgoing.end('body')
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    expect((await bodyOf(response)).toString()).toBe('body undefined')
  })

  test('are only read as fast as they are taken', async () => {
    const sent = { bytes: 0 }
    const { port } = await serve((_incoming, response) => {
      const block = Buffer.alloc(256 << 10)
      const fill = () => {
        while (!response.destroyed && response.write(block)) sent.bytes += block.length
      }
      response.on('drain', fill)
      fill()
    })
    const outgoing = request(`${execd.url}/proxy/${port}/`, { headers: TOKEN, agent: false }).end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    onTestFinished(() => void response.destroy())
    response.on('error', () => {})
    response.pause()
    // Full is when nothing moves: the buffers of three sockets, and not the memory of execd.
    let last = { bytes: -1, at: 0 }
    await until(async () => {
      if (sent.bytes !== last.bytes) last = { bytes: sent.bytes, at: performance.now() }
      return performance.now() - last.at > 500
    }, 'the program to be held back')
    expect(sent.bytes).toBeLessThan(64 * MIB)
  })
})

describe('answers', () => {
  test('without a body are answers without a body', async () => {
    const { port } = await serve((incoming, response) => {
      const status = Number(incoming.url?.slice(1))
      response.writeHead(status, status === 204 ? {} : { 'Content-Length': '5', ETag: '"x"' })
      response.end(incoming.method === 'HEAD' || status !== 200 ? undefined : 'hello')
    })
    const head = await ask(`/proxy/${port}/200`, { method: 'HEAD' })
    expect(head.response.headers['content-length']).toBe('5')
    expect(head.body.length).toBe(0)
    for (const status of [204, 304]) {
      const { response, body } = await ask(`/proxy/${port}/${status}`)
      expect([response.statusCode, body.length]).toEqual([status, 0])
      expect(response.headers['transfer-encoding']).toBeUndefined()
    }
  })

  test('without a body have no length, even if the program says one', async () => {
    const port = await serveBytes('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nX-Kept: 1\r\n\r\n')
    const { response, body } = await ask(`/proxy/${port}/`)
    expect([response.statusCode, body.length, response.headers['x-kept']]).toEqual([204, 0, '1'])
    expect(response.headers['content-length']).toBeUndefined()
  })

  test('that are told in hints beforehand keep their hints', async () => {
    const { port } = await serve((_incoming, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' })
      response.end('page')
    })
    const outgoing = request(`${execd.url}/proxy/${port}/`, { headers: TOKEN, agent: false }).end()
    const information = once(outgoing, 'information')
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const [{ statusCode, headers }] = (await information) as [IncomingMessage]
    expect([statusCode, headers.link]).toEqual([103, '</style.css>; rel=preload'])
    expect((await bodyOf(response)).toString()).toBe('page')
  })

  test('stream: the head before the first byte, each part when it comes', async () => {
    let program: ServerResponse | undefined
    const { port } = await serve((_incoming, response) => {
      program = response
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders()
    })
    const outgoing = request(`${execd.url}/proxy/${port}/`, { headers: TOKEN, agent: false }).end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    expect(response.headers['content-type']).toBe('text/event-stream')
    for (const part of ['one', 'two', 'three']) {
      program?.write(part)
      const [heard] = (await once(response, 'data')) as [Buffer]
      expect(heard.toString()).toBe(part)
    }
    program?.end()
    await once(response, 'end')
  })

  test('S11: to reads share a connection, and one that was closed meanwhile is not an error', async () => {
    const { port, connections } = await serve((incoming, response) => response.end(incoming.method))
    for (let turn = 0; turn < 20; turn++) expect((await ask(`/proxy/${port}/`)).body.toString()).toBe('GET')
    expect(connections.length).toBe(1)
    // The program closes it without a word, as it may at any moment.
    connections[0]?.resetAndDestroy()
    expect((await ask(`/proxy/${port}/`)).body.toString()).toBe('GET')
    for (let turn = 0; turn < 3; turn++)
      expect((await ask(`/proxy/${port}/`, { method: 'POST', body: 'x' })).body.toString()).toBe('POST')
  })

  test('S11: that never come after a kept connection broke are asked for once more, and writes are not', async () => {
    let asked = 0
    const { port } = await serve((incoming, response) => {
      asked++
      if (incoming.url === '/break') incoming.socket.destroy()
      else response.end()
    })
    await ask(`/proxy/${port}/`)
    asked = 0
    expect((await ask(`/proxy/${port}/break`)).response.statusCode).toBe(502)
    expect(asked).toBe(2)
    asked = 0
    expect((await ask(`/proxy/${port}/break`, { method: 'POST', body: 'x' })).response.statusCode).toBe(502)
    expect(asked).toBe(1)
  })

  test('that come before the whole request was read are heard', async () => {
    // It reads on: a program that closes at once resets the connection, and with it perhaps its own answer.
    const port = await serveBytes('HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large')
    const { response, body } = await ask(`/proxy/${port}/`, {
      method: 'POST',
      headers: { Connection: 'keep-alive' },
      body: randomBytes(8 * MIB),
    })
    expect([response.statusCode, body.toString()]).toEqual([413, 'too large'])
  })

  test('that break off break off', async () => {
    const port = await serveBytes('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf')
    const outgoing = request(`${execd.url}/proxy/${port}/`, { headers: TOKEN, agent: false }).end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    await expect(bodyOf(response)).rejects.toThrow('aborted')
  })

  test.each([
    ['nothing', ''],
    ['no HTTP', 'hello\r\n\r\n'],
    ['a status that is none', 'HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n'],
    ['a status and a reason that are none', 'HTTP/1.1 000 \x01\r\nContent-Encoding: gzip\r\n\r\n'],
    [
      'a protocol that nobody asked for',
      'HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a header without end', `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(400_000)}\r\n\r\n`],
  ])('of %s are Bad Gateway', async (_what, bytes) => {
    const port = await serveBytes(bytes)
    const { response, body } = await ask(`/proxy/${port}/`)
    expect([response.statusCode, body.toString()]).toEqual([502, 'Bad Gateway'])
  })

  test.each([
    ['of HTTP/1.0, up to its end', 'HTTP/1.0 200 OK\r\n\r\nbody', 200, 'body'],
    [
      'with control characters in its reason',
      'HTTP/1.1 200 \x01\x02bad\r\nContent-Length: 1\r\n\r\na',
      200,
      'a',
    ],
    ['without a reason', 'HTTP/1.1 299\r\nContent-Length: 1\r\n\r\na', 299, 'a'],
    [
      'with bytes that are no ASCII',
      'HTTP/1.1 200 \xfcber\r\nX: \xe9\r\nContent-Length: 1\r\n\r\na',
      200,
      'a',
    ],
    [
      'with hints that are none',
      'HTTP/1.1 103 x\r\nLink: what\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na',
      200,
      'a',
    ],
  ])('%s pass', async (_what, bytes, status, text) => {
    const port = await serveBytes(bytes)
    const { response, body } = await ask(`/proxy/${port}/`)
    expect([response.statusCode, body.toString()]).toEqual([status, text])
  })
})

describe('a client that leaves', () => {
  test('while it waits for the answer takes its request with it', async () => {
    const closed = Promise.withResolvers<void>()
    const arrived = Promise.withResolvers<void>()
    const { port } = await serve((_incoming, response) => {
      response.once('close', closed.resolve)
      arrived.resolve()
    })
    const outgoing = request(`${execd.url}/proxy/${port}/`, { headers: TOKEN, agent: false }).end()
    outgoing.on('error', () => {})
    await arrived.promise
    outgoing.destroy()
    await closed.promise
  })

  test('in the middle of its upload, or of a stream, likewise', async () => {
    const closed = { upload: Promise.withResolvers<void>(), stream: Promise.withResolvers<void>() }
    const arrived = Promise.withResolvers<void>()
    const { port } = await serve((incoming, response) => {
      if (incoming.method === 'POST') {
        incoming.once('close', closed.upload.resolve).on('error', () => {})
        incoming.once('data', arrived.resolve)
      } else {
        response.once('close', closed.stream.resolve)
        response.write('first')
      }
    })
    const upload = request(`${execd.url}/proxy/${port}/`, { method: 'POST', headers: TOKEN, agent: false })
    upload.on('error', () => {})
    upload.write('begun')
    await arrived.promise
    upload.destroy()
    const stream = request(`${execd.url}/proxy/${port}/`, { headers: TOKEN, agent: false }).end()
    const [response] = (await once(stream, 'response')) as [IncomingMessage]
    response.on('error', () => {})
    await once(response, 'data')
    response.destroy()
    await Promise.all([closed.upload.promise, closed.stream.promise])
  })
})

describe('through execd to execd itself, as some clients call it', () => {
  test('commands stream', async () => {
    const response = await execd.call(`/proxy/${ownPort()}/command`, {
      method: 'POST',
      body: JSON.stringify({ command: 'echo one; echo two' }),
    })
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(outputOf(parseEvents(await response.text()))).toBe('one\ntwo\n')
  })

  test('files go up and down, and a part of one', async () => {
    const form = new FormData()
    form.append('metadata', new Blob([JSON.stringify({ path: 'hop.txt' })]), 'metadata')
    form.append('file', new Blob(['0123456789abcdef']), 'hop.txt')
    const up = await execd.call(`/proxy/${ownPort()}/files/upload`, { method: 'POST', body: form })
    expect(up.status, await up.clone().text()).toBe(200)
    expect(up.headers.get('content-length')).toBe('0')
    const down = await execd.call(`/proxy/${ownPort()}/files/download?path=hop.txt`, {
      headers: { Range: 'bytes=2-5' },
    })
    expect([down.status, await down.text()]).toEqual([206, '2345'])
  })

  test('errors and the need for a token stay as they are', async () => {
    const missing = await execd.call(`/proxy/${ownPort()}/files/info?path=/nowhere`)
    expect([missing.status, ((await missing.json()) as { code: string }).code]).toEqual([
      404,
      'FILE_NOT_FOUND',
    ])
    const other = await execd.call(`/proxy/${ownPort()}/files/info`, {
      headers: { 'X-EXECD-ACCESS-TOKEN': 'x' },
    })
    expect(other.status).toBe(401)
  })

  test('however often it is said, it is one more hop', async () => {
    const path = `/proxy/${ownPort()}`.repeat(5000)
    const { response, body } = await ask(`${path}/files/info`)
    expect([response.statusCode, body.toString()]).toEqual([200, '{}'])
  })
})

describe('WebSockets', () => {
  async function serveSockets(): Promise<{ port: number; heads: IncomingMessage[] }> {
    const heads: IncomingMessage[] = []
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => 'mine' })
    server.on('connection', (socket, head) => {
      heads.push(head)
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
      socket.on('error', () => {})
    })
    await once(server, 'listening')
    onTestFinished(() => {
      for (const client of server.clients) client.terminate()
      server.close()
    })
    return { port: (server.address() as AddressInfo).port, heads }
  }

  type Options = { headers?: Record<string, string>; to?: Daemon }

  function connect(path: string, { to = execd, ...options }: Options = {}): WebSocket {
    const url = `${to.url.replace('http', 'ws')}${path}`
    const socket = new WebSocket(url, ['mine'], { headers: { ...TOKEN, ...options.headers } })
    onTestFinished(() => socket.terminate())
    return socket
  }

  test('carry messages both ways, and the token to nobody', async () => {
    const { port, heads } = await serveSockets()
    const socket = connect(`/proxy/${port}/chat?room=1`)
    await once(socket, 'open')
    expect(socket.protocol).toBe('mine')
    for (const message of ['hello', randomBytes(3 * MIB)]) {
      socket.send(message)
      const [heard] = (await once(socket, 'message')) as [Buffer]
      expect(sha(heard)).toBe(sha(Buffer.from(message)))
    }
    expect(heads[0]?.url).toBe('/chat?room=1')
    expect(heads[0]?.headers).toMatchObject({ host: `127.0.0.1:${port}`, 'x-forwarded-for': '127.0.0.1' })
    expect(JSON.stringify(heads[0]?.headers)).not.toContain('secret-token')
    socket.close(4001, 'done')
    const [code] = (await once(socket, 'close')) as [number]
    expect(code).toBe(4001)
  })

  test('survive the hop through execd to itself', async () => {
    const { port } = await serveSockets()
    const socket = connect(`/proxy/${ownPort()}/proxy/${port}/`)
    await once(socket, 'open')
    socket.send('hello')
    const [heard] = (await once(socket, 'message')) as [Buffer]
    expect(heard.toString()).toBe('hello')
  })

  test('that break on one side break on the other', async () => {
    const gone = Promise.withResolvers<void>()
    let program: Socket | undefined
    const port = await serveUpgrade((socket) => {
      program = socket
        .resume()
        .on('error', () => {})
        .once('end', gone.resolve)
    })
    const one = connect(`/proxy/${port}/`)
    await once(one, 'open')
    one.terminate()
    await gone.promise
    const other = connect(`/proxy/${port}/`)
    other.on('error', () => {})
    await once(other, 'open')
    program?.resetAndDestroy()
    await once(other, 'close')
  })

  test('end when execd does', async () => {
    const { port } = await serveSockets()
    await using other = await startDaemon()
    const socket = connect(`/proxy/${port}/`, { to: other })
    await once(socket, 'open')
    const closed = once(socket, 'close')
    await other.stop()
    await closed
  })

  test('that the program refuses are answered with its refusal', async () => {
    const { port } = await serve((_incoming, response) => response.writeHead(403).end('not you'))
    const socket = connect(`/proxy/${port}/`)
    socket.on('error', () => {})
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
    expect([response.statusCode, (await bodyOf(response)).toString()]).toEqual([403, 'not you'])
  })

  test('to nobody are Bad Gateway, to no port a refusal, without the token neither', async () => {
    for (const [path, headers, status] of [
      ['/proxy/1/', {}, 502],
      ['/proxy/x/', {}, 400],
      ['/proxy/1/', { 'X-EXECD-ACCESS-TOKEN': 'x' }, 401],
    ] as const) {
      const socket = connect(path, { headers })
      socket.on('error', () => {})
      const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
      expect(response.statusCode).toBe(status)
      response.resume()
    }
  })

  /** A server that takes every upgrade and hands over the bare socket. */
  async function serveUpgrade(take: (socket: Socket) => void): Promise<number> {
    const server = createServer()
    server.on('upgrade', (incoming, socket: Socket) => {
      const accept = createHash('sha1')
        .update(`${incoming.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest('base64')
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: mine\r\n\r\n`,
      )
      take(socket)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return (server.address() as AddressInfo).port
  }
})

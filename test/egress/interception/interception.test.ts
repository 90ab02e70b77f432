// Connections with secrets, with real servers on the loopback address. What leads connections here is not part of it.

import { EventEmitter, once } from 'node:events'
import { createServer as createHttp1Server, type IncomingHttpHeaders } from 'node:http'
import { connect as connectHttp2, createSecureServer } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { FLAG, FRAME } from '../../../egress/http2/frames.ts'
import { makeAuthority } from '../../../egress/interception/authority.ts'
import type { Exchange } from '../../../egress/interception/exchange.ts'
import { Interception } from '../../../egress/interception/interception.ts'
import { openQueuedBytes } from '../../../egress/queued-bytes.ts'
import { StallWatch } from '../../../egress/stall-watch.ts'
import type { VaultChoice, VaultScheme, VaultView } from '../../../egress/vault/port.ts'
import { createLogger } from '../../../lib/log.ts'
import { formatKey, makeCertificate, makeKeyPair } from '../../../lib/x509.ts'
import { frame, PREFACE, pack } from '../../support/http2-frames.ts'
import { flood, lookUntil } from '../stalling.ts'

const NAME = 'api.a.example'
const SECRET = 'tok-very-secret-41'
const DAY_MS = 86_400_000
const now = Date.now()
/** That of the world outside, and that of the sandbox. */
const world = makeAuthority('world', now)
const inside = makeAuthority('sb', now)
const servers: Server[] = []
const exchanges: Exchange[] = []
const logged: string[] = []
let choice: (path: string) => VaultChoice

const inject = (extra: Partial<Extract<VaultChoice, { kind: 'inject' }>> = {}): VaultChoice => ({
  kind: 'inject',
  binding: 'b',
  revision: 3,
  headers: [['Authorization', `Bearer ${SECRET}`]],
  substitutions: [],
  secrets: [`Bearer ${SECRET}`, SECRET],
  ...extra,
})

function certificateFor(name: string) {
  const { privateKey, publicKey } = makeKeyPair()
  const cert = makeCertificate({
    name,
    publicKey,
    issuer: world,
    notBefore: now - DAY_MS,
    notAfter: now + DAY_MS,
    serverNames: [name],
  })
  return { key: formatKey(privateKey), cert }
}

async function listen(server: Server): Promise<number> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

type Arrived = {
  method: string | undefined
  url: string | undefined
  headers: IncomingHttpHeaders
  body: string
}
const arrived: Arrived[] = []
/** Says when a request to `/leave` has begun, and when it is broken off. */
const leaving = new EventEmitter()
/** So many were opened to the server. */
let connections = 0
let https: number
let http: number
let http2: number
let impostor: number

beforeAll(async () => {
  const serve = createHttp1Server()
  const answer: Parameters<typeof createHttp1Server>[1] = (request, response) => {
    if (request.url === '/leave') {
      request.once('data', () => leaving.emit('begun'))
      request.on('error', () => leaving.emit('left'))
      return
    }
    if (request.url === '/break') {
      response.setHeader('content-length', 10)
      response.write('half', () => request.socket.destroy())
      return
    }
    let body = ''
    request.setEncoding('latin1').on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      const { method, url, headers } = request
      arrived.push({ method, url, headers, body })
      response.setHeader('set-cookie', [`a=${SECRET}`, 'b=2'])
      response.setHeader('x-echo', String(headers.authorization))
      if (url === '/big') response.end(Buffer.alloc(8_000_000, 'x'))
      else response.end(`${method} ${body.length}`)
    })
  }
  serve.on('request', answer)
  http = await listen(serve)
  const secure = createHttps(certificateFor(NAME), answer)
  new WebSocketServer({ server: secure }).on('connection', (socket) =>
    socket.on('message', (data) => socket.send(data)),
  )
  secure.on('secureConnection', () => {
    connections++
  })
  https = await listen(secure)
  impostor = await listen(createHttps(certificateFor('b.example'), answer))
  const second = createSecureServer(certificateFor(NAME))
  second.on('stream', (stream, headers) => {
    const trailers = { 'grpc-status': '0', 'x-echo': String(headers.authorization) }
    stream.respond({ ':status': 200, 'x-echo': String(headers.authorization) }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    stream.pipe(stream)
  })
  http2 = await listen(second)
})
afterAll(() => {
  for (const server of servers) server.close()
})

const stalls = new StallWatch({ queuedBytesOf: openQueuedBytes() })

/** Takes connections as the relay hands them over. */
async function openInterception(
  to: number,
  scheme: VaultScheme = 'https',
  protocols: string[] = [],
  maxHeldBodies = 32,
): Promise<number> {
  const view: VaultView = {
    revision: 3,
    hasBindingFor: ({ host }) => host === NAME,
    choose: ({ target }) => choice(target),
  }
  const interception = new Interception({
    vaults: { vaultOf: () => view },
    authorities: { authorityOf: () => inside, remove: () => {} },
    trust: createSecureContext({ ca: world.certificate }),
    maxHeldBodies,
    stalls,
    onExchange: (_id, exchange) => void exchanges.push(exchange),
    log: createLogger({ program: 'test', level: () => 'debug', write: (line) => void logged.push(line) }),
  })
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    client.on('error', () => client.destroy())
    const of = { scheme, host: NAME, port: to }
    interception.take({ client, sandboxId: 'sb', server: of, address: '127.0.0.1', protocols })
  })
  server.on('close', () => interception.close())
  return listen(server)
}

function dial(port: number, protocols: string[] = []): TLSSocket {
  const ALPNProtocols = protocols
  return connectTls({ port, host: '127.0.0.1', servername: NAME, ca: inside.certificate, ALPNProtocols })
}

/** Everything that is answered to some bytes. */
async function exchange(socket: Socket, text: string): Promise<string> {
  let answer = ''
  socket.write(text)
  try {
    for await (const chunk of socket) answer += chunk
  } catch (error) {
    answer += `<${(error as NodeJS.ErrnoException).code}>`
  }
  return answer
}

const get = (port: number, path: string, fields = '') =>
  `GET ${path} HTTP/1.1\r\nHost: ${NAME}:${port}\r\n${fields}\r\n`

test('C1: a request gets the secret in place of what came under its name, and no answer shows it', async () => {
  choice = () => inject()
  const port = await openInterception(https)
  const fields =
    'authorization: mine\r\nAUTHORIZATION: mine\r\nAuthoriza_tion: x\r\nX-Other: 1\r\nConnection: close, x-other\r\n'
  const answer = await exchange(dial(port), get(https, '/one?q=2', fields))
  expect(arrived.at(-1)).toMatchObject({ url: '/one?q=2', headers: { authorization: `Bearer ${SECRET}` } })
  expect(arrived.at(-1)?.headers).not.toHaveProperty('x-other')
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  expect(answer).not.toContain(SECRET)
  expect(answer).toContain('x-echo: [REDACTED]')
  // C7: several cookies stay several.
  expect(answer).toContain('set-cookie: a=[REDACTED]\r\nset-cookie: b=2\r\n')
  await expect
    .poll(() => exchanges.at(-1))
    .toMatchObject({
      path: '/one',
      status: 200,
      binding: 'b',
      revision: 3,
      headers: ['Authorization'],
    })
  expect(JSON.stringify(exchanges) + logged.join('')).not.toContain(SECRET)
})

test.each([
  ['another host', `GET / HTTP/1.1\r\nHost: b.example\r\n\r\n`, '421'],
  ['two hosts', `GET / HTTP/1.1\r\nHost: ${NAME}\r\nHost: ${NAME}\r\n\r\n`, '400'],
  ['another port', `GET / HTTP/1.1\r\nHost: ${NAME}:1\r\n\r\n`, '421'],
  ['another host in its target', `GET https://b.example/ HTTP/1.1\r\nHost: ${NAME}:PORT\r\n\r\n`, '421'],
  [
    'two lengths',
    `POST / HTTP/1.1\r\nHost: ${NAME}:PORT\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    '400',
  ],
  ['a folded field', `GET / HTTP/1.1\r\nHost: ${NAME}:PORT\r\nX: 1\r\n y: 2\r\n\r\n`, '400'],
  ['a blank before the colon', `GET / HTTP/1.1\r\nHost: ${NAME}:PORT\r\nX : 1\r\n\r\n`, '400'],
  ['a line feed alone', `GET / HTTP/1.1\r\nHost: ${NAME}:PORT\r\nX: 1\nY: 2\r\n\r\n`, '400'],
  [
    'Connection that takes away its length',
    `GET / HTTP/1.1\r\nHost: ${NAME}:PORT\r\nConnection: content-length\r\n\r\n`,
    '400',
  ],
  ['TRACE', `TRACE / HTTP/1.1\r\nHost: ${NAME}:PORT\r\n\r\n`, '403'],
  ['CONNECT', `CONNECT b.example:443 HTTP/1.1\r\nHost: ${NAME}:PORT\r\n\r\n`, '400'],
])('C1: a request with %s reaches no server', async (_what, text, status) => {
  choice = () => inject()
  const before = arrived.length
  const answer = await exchange(dial(await openInterception(https)), text.replaceAll('PORT', String(https)))
  expect(answer.slice(0, 12)).toBe(`HTTP/1.1 ${status}`)
  expect(arrived).toHaveLength(before)
  expect(exchanges.at(-1)).toMatchObject({ status: Number(status), refusal: expect.any(String) })
})

test('C1: a server that cannot prove its name hears nothing, and the client is told why', async () => {
  choice = () => inject()
  const before = arrived.length
  const answer = await exchange(dial(await openInterception(impostor)), get(impostor, '/'))
  expect(answer).toMatch(/^HTTP\/1\.1 502 .*does not prove that it is api\.a\.example/s)
  expect(arrived).toHaveLength(before)
})

test('C4: bodies of any size get the secret with their head, whatever their framing, and pass whole in both directions', async () => {
  choice = () => inject()
  const port = await openInterception(https)
  const size = 3_000_000
  const head = `POST /up HTTP/1.1\r\nHost: ${NAME}:${https}\r\nConnection: close\r\n`
  const whole = await exchange(dial(port), `${head}Content-Length: ${size}\r\n\r\n${'x'.repeat(size)}`)
  expect(whole).toContain(`POST ${size}`)
  const chunk = `${(1000).toString(16)}\r\n${'y'.repeat(1000)}\r\n`
  const trailers = 'authorization: mine\r\nX-T: 1\r\n'
  const chunked = await exchange(
    dial(port),
    `${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(500)}0\r\n${trailers}\r\n`,
  )
  expect(chunked).toContain('POST 500000')
  expect(arrived.at(-1)?.headers.authorization).toBe(`Bearer ${SECRET}`)
  expect((await exchange(dial(port), get(https, '/big', 'Connection: close\r\n'))).length).toBeGreaterThan(
    8_000_000,
  )
})

test('C8: each request of a connection is judged by itself, and an ambiguous one reaches nobody', async () => {
  choice = (path) =>
    path === '/none'
      ? { kind: 'none' }
      : path === '/two'
        ? { kind: 'ambiguous', bindings: ['a', 'b'] }
        : inject()
  const before = arrived.length
  const requests = ['/none', '/one', '/none', '/two', '/one'].map((path) => get(https, path)).join('')
  const answer = await exchange(dial(await openInterception(https)), requests)
  expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual([
    'HTTP/1.1 200',
    'HTTP/1.1 200',
    'HTTP/1.1 200',
    'HTTP/1.1 403',
  ])
  expect(answer).toContain('credential binding ambiguous')
  expect(arrived.slice(before).map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    `Bearer ${SECRET}`,
    undefined,
  ])
})

test('C1: a plain server gets the secret only where a binding says so, and placeholders are replaced in their places', async () => {
  choice = () =>
    inject({ substitutions: [{ placeholder: 'PLACE', value: SECRET, in: ['body', 'query', 'header'] }] })
  const port = await openInterception(http, 'http')
  const body = '{"key":"PLACE"}'
  const answer = await exchange(
    connect(port, '127.0.0.1'),
    `POST /?k=PLACE HTTP/1.1\r\nHost: ${NAME}:${http}\r\nX-Key: PLACE\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  )
  expect(answer).toContain('200 OK')
  expect(arrived.at(-1)).toMatchObject({
    url: `/?k=${SECRET}`,
    headers: { 'x-key': SECRET },
    body: `{"key":"${SECRET}"}`,
  })
})

test('C12: streams of HTTP/2 pass while they last, with the secret, their trailers, and nothing of it in the answer', async () => {
  choice = () => inject()
  const port = await openInterception(http2, 'https', ['h2', 'http/1.1'])
  const session = connectHttp2(`https://${NAME}:${http2}`, {
    createConnection: () => dial(port, ['h2']),
  })
  const stream = session.request(
    { ':path': '/grpc', ':method': 'POST', authorization: 'mine' },
    { endStream: false },
  )
  const [headers] = await once(stream, 'response')
  expect(headers).toMatchObject({ ':status': 200, 'x-echo': '[REDACTED]' })
  for (const word of ['one', 'two']) {
    stream.write(word)
    expect(String((await once(stream, 'data'))[0])).toBe(word)
  }
  const trailers = once(stream, 'trailers')
  stream.end()
  stream.resume()
  expect((await trailers)[0]).toMatchObject({ 'grpc-status': '0', 'x-echo': '[REDACTED]' })
  await once(stream, 'close')
  const other = session.request({ ':path': '/', ':authority': 'b.example' })
  expect((await once(other, 'response'))[0]).toMatchObject({ ':status': 421 })
  session.destroy()
})

test.each(['http/1.1', 'h2'])(
  'a sandbox has a bounded number of bodies held at a time, by %s',
  async (protocol) => {
    choice = () => inject({ substitutions: [{ placeholder: 'PLACE', value: SECRET, in: ['body'] }] })
    const to = protocol === 'h2' ? http2 : https
    const port = await openInterception(to, 'https', [protocol], 1)
    const begin = () => (protocol === 'h2' ? beginByHttp2(port, to) : beginByHttp1(port, to))
    const first = await begin()
    expect(await (await begin()).status).toBe(503)
    first.end()
    expect(await first.status).toBe(200)
    const last = await begin()
    last.end()
    expect(await last.status).toBe(200)
  },
)

test('a client by HTTP/2 that does not read its connection is let go', async () => {
  choice = () => inject()
  const client = dial(await openInterception(http2, 'https', ['h2']), ['h2'])
  const { promise: gone, resolve } = Promise.withResolvers<void>()
  client.on('error', () => {}).once('close', resolve)
  await once(client, 'secureConnect')
  client.pause()
  const ping = Buffer.concat(Array.from({ length: 4000 }, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))))
  client.write(PREFACE)
  flood(client, ping)
  await lookUntil(stalls, () => client.destroyed)
  await gone
})

test('a client may send less ahead on its connections by HTTP/2 beyond the first', async () => {
  choice = () => inject()
  const port = await openInterception(http2, 'https', ['h2'])
  const windows = new Set<number | undefined>()
  for (let count = 0; count < 18; count++) {
    const session = connectHttp2(`https://${NAME}:${http2}`, { createConnection: () => dial(port, ['h2']) })
    session.on('error', () => {})
    onTestFinished(() => session.destroy())
    const [{ initialWindowSize }] = await once(session, 'remoteSettings')
    windows.add(initialWindowSize)
    // All streams together.
    await expect.poll(() => session.state.remoteWindowSize).toBe(count < 16 ? 4 * 1024 * 1024 : 4 * 65_536)
  }
  expect([...windows]).toEqual([65_536])
})

/** A request whose body is begun, and whose server has been heard of since. */
type Begun = { status: Promise<number>; end: () => void }

async function beginByHttp2(port: number, to: number): Promise<Begun> {
  const session = connectHttp2(`https://${NAME}:${to}`, { createConnection: () => dial(port, ['h2']) })
  session.on('error', () => {})
  const fields = { 'content-type': 'text/plain', 'content-length': '5' }
  const stream = session.request({ ':path': '/', ':method': 'POST', ...fields }, { endStream: false })
  stream.on('error', () => {}).write('PLAC')
  const status = once(stream, 'response').then(([headers]) => Number(headers[':status']))
  await once(session, 'remoteSettings')
  await new Promise((resolve) => session.ping(resolve))
  return { status, end: () => void stream.end('E') }
}

async function beginByHttp1(port: number, to: number): Promise<Begun> {
  const socket = dial(port, ['http/1.1'])
  socket.on('error', () => {})
  socket.write(
    `POST / HTTP/1.1\r\nHost: ${NAME}:${to}\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nPLAC`,
  )
  const [first] = await once(socket, 'data')
  const statusIn = (text: unknown) => Number(/^HTTP\/1\.1 (\d{3})/.exec(String(text))?.[1])
  const isHeld = statusIn(first) === 100
  return {
    status: isHeld
      ? once(socket, 'data').then(([answer]) => statusIn(answer))
      : Promise.resolve(statusIn(first)),
    end: () => void socket.write('E'),
  }
}

test.each([
  ['http2-settings', 'x'],
  ['te', 'TRAILERS'],
  ['te', 'trailers'],
])('trailers of HTTP/2 that no client of Node sends end nothing: %s: %s', async (name, value) => {
  choice = () => inject()
  const port = await openInterception(http2, 'https', ['h2', 'http/1.1'])
  const client = dial(port, ['h2'])
  client.on('error', () => {}).resume()
  const head = pack([
    [':method', 'POST'],
    [':scheme', 'https'],
    [':authority', `${NAME}:${http2}`],
    [':path', '/grpc'],
  ])
  client.write(
    Buffer.concat([
      PREFACE,
      frame(FRAME.headers, FLAG.endHeaders, 1, head),
      frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, pack([[name, value]])),
    ]),
  )
  await expect.poll(() => exchanges.at(-1)).toMatchObject({ method: 'POST', path: '/grpc', status: 200 })
  client.destroy()
})

test('a WebSocket is opened with the secret, and its bytes pass in both directions', async () => {
  choice = () => inject()
  const port = await openInterception(https)
  const socket = new WebSocket(`wss://${NAME}:${https}/ws`, { createConnection: () => dial(port) })
  await once(socket, 'open')
  socket.send('hello')
  expect(String((await once(socket, 'message'))[0])).toBe('hello')
  socket.close()
  await once(socket, 'close')
  await expect.poll(() => exchanges.at(-1)).toMatchObject({ path: '/ws', status: 101, binding: 'b' })
})

test('the next connection of a sandbox goes on with the connection to the server that is idle', async () => {
  choice = () => inject()
  const port = await openInterception(https)
  const opened = connections
  for (const path of ['/1', '/2', '/3'])
    expect(await exchange(dial(port), get(https, path, 'Connection: close\r\n'))).toContain('200 OK')
  expect(connections).toBe(opened + 1)
})

test('who can speak HTTP/2 does so, whatever connections are idle that speak HTTP/1', async () => {
  choice = () => inject()
  const both = createSecureServer({ ...certificateFor(NAME), allowHTTP1: true }, (_, response) =>
    response.end('both'),
  )
  const to = await listen(both)
  const protocols = ['http/1.1']
  const port = await openInterception(to, 'https', protocols)
  expect(await exchange(dial(port, ['http/1.1']), get(to, '/', 'Connection: close\r\n'))).toContain('both')
  protocols.unshift('h2')
  const client = dial(port, ['h2', 'http/1.1'])
  await once(client, 'secureConnect')
  expect(client.alpnProtocol).toBe('h2')
  client.destroy()
})

test('who breaks off is missed on the other side', async () => {
  choice = () => inject()
  const port = await openInterception(https)
  const left = once(leaving, 'left')
  const client = dial(port)
  client.on('error', () => {})
  client.write(`POST /leave HTTP/1.1\r\nHost: ${NAME}:${https}\r\nContent-Length: 100\r\n\r\nhalf`)
  await once(leaving, 'begun')
  client.destroy()
  await left
  expect(await exchange(dial(port), get(https, '/break'))).toMatch(/<ECONNRESET>$/)
})

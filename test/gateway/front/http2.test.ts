// HTTP/2 at the front, over TLS and without: what its clients get, and that nothing of it becomes a second request behind.

import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import {
  type ClientHttp2Session,
  connect,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Certificates } from '../../../gateway/front/certificates.ts'
import { makeSelfSigned } from '../../../gateway/front/self-signed.ts'
import { createLogger } from '../../../lib/log.ts'
import { frame, PREFACE, pack } from '../../support/http2-frames.ts'
import { dial, startAnswering, startGateway, startRaw, type TestGateway } from '../support.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const HOST = 'a-8000.localhost'

type Answer = {
  headers: IncomingHttpHeaders
  informed: number[]
  body: string
  trailers: IncomingHttpHeaders
  code: number
}

function open(url: string, options: object = {}): ClientHttp2Session {
  const session = connect(url, options)
  session.on('error', () => {})
  onTestFinished(() => session.destroy())
  return session
}

function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string | Buffer,
  trailers?: OutgoingHttpHeaders,
): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request(
      { ':authority': HOST, ...headers },
      { endStream: body === undefined, waitForTrailers: trailers !== undefined },
    )
    const answer: Answer = { headers: {}, informed: [], body: '', trailers: {}, code: 0 }
    stream
      .setEncoding('latin1')
      .on('wantTrailers', () => stream.sendTrailers(trailers ?? {}))
      .on('response', (found) => Object.assign(answer.headers, found))
      .on('headers', (found) => answer.informed.push(Number(found[':status'])))
      .on('trailers', (found) => Object.assign(answer.trailers, found))
      .on('data', (chunk: string) => {
        answer.body += chunk
      })
      .on('error', () => {})
      .on('close', () => resolve({ ...answer, code: stream.rstCode }))
    if (body !== undefined) stream.end(body)
  })
}

async function startPair(
  answer: Parameters<typeof startAnswering>[0] = OK,
): Promise<{ gateway: TestGateway; url: string }> {
  const gateway = await startGateway()
  const upstream = await startAnswering(answer)
  gateway.routes.put('a', upstream.port)
  return { gateway, url: `http://127.0.0.1:${gateway.port}` }
}

describe('a client of HTTP/2', () => {
  test('is served over TLS by the name that ALPN agrees on, and many requests at a time', async () => {
    const { key, certificate } = makeSelfSigned([HOST], Date.now())
    const certificates = Certificates.of(
      { key, certificate },
      { domain: 'localhost', now: Date.now, log: createLogger({ program: 'gateway', write: () => {} }) },
    )
    const gateway = await startGateway({ front: { certificates } })
    const port = await gateway.listen({ host: '127.0.0.1', port: 0, isSecure: true })
    const upstream = await startAnswering((head) => OK.replace('ok', /x-at: (\d\d)/.exec(head)?.[1] ?? '??'))
    gateway.routes.put('a', upstream.port)
    const session = open(`https://127.0.0.1:${port}`, { ca: certificate, servername: HOST })
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, at) => ask(session, { 'x-at': String(at + 10) })),
    )
    expect(session.alpnProtocol).toBe('h2')
    expect(answers.map(({ body }) => body)).toEqual(Array.from({ length: 40 }, (_, at) => String(at + 10)))
  })

  test('may begin at once, without TLS, and the sandbox sees HTTP/1.1', async () => {
    const gateway = await startGateway()
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    const asked = ask(open(`http://127.0.0.1:${gateway.port}`), {
      ':path': '/x?y',
      cookie: ['a=1', 'b=2'],
      te: 'trailers',
    })
    const behind = await upstream.peer(0)
    expect(await behind.read('\r\n\r\n')).toBe(
      `GET /x?y HTTP/1.1\r\nHost: ${HOST}\r\ncookie: a=1; b=2\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: ${HOST}\r\nConnection: TE\r\nTE: trailers\r\n\r\n`,
    )
    behind.send('HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n')
    behind.send(
      'HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n',
    )
    expect(await asked).toMatchObject({
      headers: { ':status': 200, 'set-cookie': ['a=1', 'b=2'] },
      informed: [103],
      body: 'ok',
      trailers: { 'x-sum': '7' },
      code: 0,
    })
  })

  test.each([
    ['a length', { 'content-length': 8 * 2 ** 20 }],
    ['chunks', {}],
  ])('sends and gets much, with %s', async (_name, headers) => {
    const gateway = await startGateway()
    const server = createServer((request, response) => {
      const hash = createHash('sha1')
      request
        .on('data', (chunk) => hash.update(chunk))
        .on('end', () => {
          response.setHeader('x-hash', hash.digest('hex'))
          response.end(Buffer.alloc(8 * 2 ** 20, 'z'))
        })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const address = server.address()
    gateway.routes.put('a', typeof address === 'object' && address ? address.port : 0)
    const sent = Buffer.alloc(8 * 2 ** 20, 'y')
    const answer = await ask(
      open(`http://127.0.0.1:${gateway.port}`),
      { ':method': 'POST', ...headers },
      sent,
    )
    expect(answer.body.length).toBe(8 * 2 ** 20)
    expect(answer.headers['x-hash']).toBe(createHash('sha1').update(sent).digest('hex'))
  })

  test('sends trailers', async () => {
    const gateway = await startGateway()
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    const session = open(`http://127.0.0.1:${gateway.port}`)
    const asked = ask(session, { ':method': 'POST' }, 'hello', { 'x-sum': '7', host: 'evil' })
    const behind = await upstream.peer(0)
    expect(await behind.read('0\r\n')).toContain('5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n')
    behind.send(OK)
    expect((await asked).body).toBe('ok')
  })

  test('gets no body for HEAD, and the refusals of the gateway', async () => {
    const { url } = await startPair()
    const session = open(url)
    expect(await ask(session, { ':method': 'HEAD' })).toMatchObject({
      headers: { ':status': 200, 'content-length': '2' },
      body: '',
    })
    const refused = await ask(session, { ':authority': 'b-8000.localhost' })
    expect(refused.headers[':status']).toBe(404)
    expect(JSON.parse(refused.body)).toMatchObject({ code: 'DOCKER::SANDBOX_NOT_FOUND' })
  })

  test('is told when an answer breaks off', async () => {
    const gateway = await startGateway()
    const upstream = await startRaw((peer) => {
      peer.socket.on('data', () =>
        peer.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', () => peer.socket.destroy()),
      )
    })
    gateway.routes.put('a', upstream.port)
    expect((await ask(open(`http://127.0.0.1:${gateway.port}`), {})).code).not.toBe(0)
  })

  test('that leaves lets the sandbox go', async () => {
    const gateway = await startGateway()
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    const stream = open(`http://127.0.0.1:${gateway.port}`).request({ ':authority': HOST })
    stream.on('error', () => {})
    const behind = await upstream.peer(0)
    await behind.read('\r\n\r\n')
    stream.close(constants.NGHTTP2_CANCEL)
    await behind.ended()
  })
})

describe('a WebSocket over HTTP/2', () => {
  test('passes both ways, and ends', async () => {
    const gateway = await startGateway()
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    const session = open(`http://127.0.0.1:${gateway.port}`)
    await new Promise((resolve) => session.once('remoteSettings', resolve))
    expect(session.remoteSettings.enableConnectProtocol).toBe(true)
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':authority': HOST,
      ':path': '/ws',
      'sec-websocket-version': '13',
      'sec-websocket-protocol': 'chat',
    })
    const status = new Promise((resolve) => stream.once('response', (headers) => resolve(headers)))
    stream.write('before it began')
    const behind = await upstream.peer(0)
    const head = await behind.read('\r\n\r\n')
    expect(head).toMatch(/^GET \/ws HTTP\/1\.1\r\n[\s\S]*Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n$/)
    const key = /Sec-WebSocket-Key: (\S+)/.exec(head)?.[1]
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    behind.send(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nfirst`,
    )

    expect(await status).toMatchObject({ ':status': 200, 'sec-websocket-protocol': 'chat' })
    await behind.read('before it began')
    let text = ''
    stream.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk
    })
    behind.send('second')
    const closed = new Promise((resolve) => stream.once('close', resolve))
    stream.end('last')
    await behind.read('last')
    behind.socket.end()
    await closed
    expect(text).toBe('firstsecond')
  })

  test('that the sandbox does not want is an answer like any other, and what came ahead of it is no request', async () => {
    const gateway = await startGateway()
    const upstream = await startAnswering('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
    gateway.routes.put('a', upstream.port)
    const session = open(`http://127.0.0.1:${gateway.port}`)
    await new Promise((resolve) => session.once('remoteSettings', resolve))
    const evil = `GET /smuggled HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
    const answer = await ask(session, { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/' }, evil)
    expect([answer.headers[':status'], answer.body]).toEqual([403, 'no'])
    expect(gateway.lines.join('\n')).not.toContain('smuggled')
  })
})

const BASE = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':authority', HOST],
  [':path', '/'],
] as const
const replaced = (name: string, value: string) =>
  BASE.map((field) => (field[0] === name ? ([name, value] as const) : field))

const EVIL = `GET /smuggled HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
const TRICKS: [string, readonly (readonly [string, string])[]][] = [
  ['a request line in the path', replaced(':path', `/ HTTP/1.1\r\nHost: ${HOST}\r\n\r\n${EVIL}`)],
  ['a space in the path', replaced(':path', '/ HTTP/1.1')],
  ['a line end in the path', replaced(':path', '/\r\nX: y')],
  ['a path without a slash', replaced(':path', 'smuggled')],
  ['an absolute path', replaced(':path', `http://${HOST}/smuggled`)],
  ['no path', BASE.filter(([name]) => name !== ':path')],
  ['an empty path', replaced(':path', '')],
  ['a request line in the method', replaced(':method', `GET /smuggled HTTP/1.1\r\nHost: ${HOST}\r\n\r\nGET`)],
  ['a space in the method', replaced(':method', 'GET /smuggled HTTP/1.1')],
  ['a line end in the authority', replaced(':authority', `${HOST}\r\nX: y`)],
  ['a user in the authority', replaced(':authority', `u@${HOST}`)],
  ['a path in the authority', replaced(':authority', `${HOST}/smuggled?`)],
  ['no authority', BASE.filter(([name]) => name !== ':authority')],
  ['another host', [...BASE, ['host', 'b-8000.localhost']]],
  ['two hosts', [...BASE, ['host', HOST], ['host', HOST]]],
  ['two paths', [...BASE, [':path', '/smuggled']]],
  ['two methods', [...BASE, [':method', 'GET']]],
  ['an unknown pseudo field', [...BASE, [':smuggled', 'x']]],
  ['a pseudo field behind others', [['x', 'y'], ...BASE]],
  ['transfer-encoding', [...BASE, ['transfer-encoding', 'chunked']]],
  ['connection', [...BASE, ['connection', 'close, x']]],
  ['upgrade', [...BASE, ['upgrade', 'websocket']]],
  ['keep-alive', [...BASE, ['keep-alive', 'x']]],
  ['proxy-connection', [...BASE, ['proxy-connection', 'x']]],
  ['te', [...BASE, ['te', 'chunked']]],
  ['upper case', [...BASE, ['Transfer-Encoding', 'chunked']]],
  ['a line end in a value', [...BASE, ['x', `y\r\n\r\n${EVIL}`]]],
  ['LF in a value', [...BASE, ['x', 'y\nTransfer-Encoding: chunked']]],
  ['NUL in a value', [...BASE, ['x', 'y\0']]],
  ['a line end in a name', [...BASE, ['x: y\r\ntransfer-encoding', 'chunked']]],
  ['a colon in a name', [...BASE, ['transfer-encoding: chunked\r\nx', 'y']]],
  ['a space in a name', [...BASE, ['transfer-encoding ', 'chunked']]],
  ['an empty name', [...BASE, ['', 'x']]],
  ['a length that is too short', [...BASE, ['content-length', '1']]],
  ['a length that is too long', [...BASE, ['content-length', '500']]],
  ['two lengths', [...BASE, ['content-length', String(EVIL.length)], ['content-length', '0']]],
  ['a list of lengths', [...BASE, ['content-length', `${EVIL.length}, 0`]]],
  ['a signed length', [...BASE, ['content-length', `+${EVIL.length}`]]],
  ['underscores', [...BASE, ['transfer_encoding', 'chunked']]],
  ['CONNECT', replaced(':method', 'CONNECT').filter(([name]) => name !== ':path' && name !== ':scheme')],
  ['CONNECT to a protocol that is not served', [...replaced(':method', 'CONNECT'), [':protocol', 'smuggle']]],
  ['a protocol without CONNECT', [...BASE, [':protocol', 'websocket']]],
  ['another scheme', replaced(':scheme', 'ftp')],
]

test.each(TRICKS)('a request over HTTP/2 with %s comes to nobody', async (_name, fields) => {
  const gateway = await startGateway()
  let seen = ''
  const upstream = await startRaw(({ socket }) => {
    socket.on('data', (chunk) => {
      seen += String(chunk)
    })
  })
  for (const id of ['a', 'b']) gateway.routes.put(id, upstream.port)
  const client = dial(gateway.port)
  client.socket.write(
    Buffer.concat([PREFACE, frame(1, 4, 1, pack(fields)), frame(0, 1, 1, Buffer.from(EVIL))]),
  )
  // The gateway answers it, breaks off the stream, or the connection.
  client.socket.write(frame(6, 0, 0, Buffer.from('pingping')))
  await client.read(/pingping|$/)
  await Promise.race([client.read('pingping').catch(() => ''), client.ended()])
  // What a length lets wait for more is not whole behind either.
  expect(seen).not.toMatch(
    /^(GET|POST) \/smuggled|\r\n\r\nGET \/smuggled HTTP\/1\.1\r\nHost: \S+\r\n\r\n(?!\r\n0)/,
  )
  expect(seen).not.toMatch(/smuggle/)
})

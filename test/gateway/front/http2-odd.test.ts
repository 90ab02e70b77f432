// What nobody sends over HTTP/2, from either side: whatever it is, one stream ends by it and no more. An exception would end the
// gateway, for all.

import {
  type ClientHttp2Session,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { expect, onTestFinished, test } from 'vitest'
import { frame, PREFACE, pack } from '../../support/http2-frames.ts'
import { dial, startAnswering, startGateway, startRaw } from '../support.ts'

const HOST = 'a-8000.localhost'
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const PING = frame(6, 0, 0, Buffer.from('pingping'))
/** Names that every object has something under. */
const INHERITED = ['constructor', '__proto__']

type Fields = readonly (readonly [string, string])[]
type Answer = { headers: IncomingHttpHeaders; trailers: IncomingHttpHeaders; body: string; code: number }

function open(port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  onTestFinished(() => session.destroy())
  return session
}

function ask(session: ClientHttp2Session, more: OutgoingHttpHeaders = {}): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request(Object.assign(Object.create(null), { ':authority': HOST }, more), {
      endStream: true,
    })
    const answer: Answer = { headers: {}, trailers: {}, body: '', code: 0 }
    stream
      .setEncoding('latin1')
      .on('response', (found) => {
        answer.headers = found
      })
      .on('trailers', (found) => {
        answer.trailers = found
      })
      .on('data', (chunk: string) => {
        answer.body += chunk
      })
      .on('error', () => {})
      .on('close', () => resolve({ ...answer, code: stream.rstCode }))
  })
}

const fieldOf = (headers: IncomingHttpHeaders, name: string) =>
  Object.getOwnPropertyDescriptor(headers, name)?.value

/** A server of HTTP/2 that says `ok`, and what it was asked. */
async function startH2c(): Promise<{ port: number; asked: IncomingHttpHeaders[] }> {
  const asked: IncomingHttpHeaders[] = []
  const server = createServer()
  server.on('stream', (stream, headers) => {
    asked.push(headers)
    stream.on('error', () => {}).on('end', () => stream.end('ok'))
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    stream.resume()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const address = server.address()
  return { port: typeof address === 'object' && address ? address.port : 0, asked }
}

test.each(INHERITED)('a field of an answer may be named %s', async (name) => {
  const gateway = await startGateway()
  const upstream = await startAnswering(OK.replace('\r\n', `\r\n${name}: x\r\n`))
  gateway.routes.put('a', upstream.port)
  const answer = await ask(open(gateway.port))
  expect([answer.body, fieldOf(answer.headers, name)]).toEqual(['ok', 'x'])
})

test.each(INHERITED)('a trailer of an answer may be named %s', async (name) => {
  const gateway = await startGateway()
  const upstream = await startAnswering(
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${name}: x\r\n\r\n`,
  )
  gateway.routes.put('a', upstream.port)
  const answer = await ask(open(gateway.port))
  expect([answer.body, fieldOf(answer.trailers, name)]).toEqual(['ok', 'x'])
})

test('an answer ends when HTTP/2 does not take its trailers', async () => {
  const gateway = await startGateway()
  const upstream = await startRaw((peer) => {
    peer.socket.on('data', () =>
      peer.send(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nEtag: a\r\nEtag: b\r\n\r\n',
      ),
    )
  })
  gateway.routes.put('a', upstream.port)
  expect((await ask(open(gateway.port))).code).not.toBe(0)
})

test.each(INHERITED)('a field of a call of gRPC may be named %s', async (name) => {
  const gateway = await startGateway()
  const server = await startH2c()
  gateway.routes.put('a', server.port)
  const more = Object.defineProperty({ 'content-type': 'application/grpc' }, name, {
    value: 'x',
    enumerable: true,
  })
  expect((await ask(open(gateway.port), more)).body).toBe('ok')
  expect(server.asked.map((headers) => fieldOf(headers, name))).toEqual(['x'])
})

const CALL: Fields = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':authority', HOST],
  [':path', '/x'],
  ['content-type', 'application/grpc'],
]
const TWICE: Fields = [
  ['user-agent', 'a'],
  ['user-agent', 'b'],
]

test.each([
  ['fields', [frame(1, 5, 1, pack([...CALL, ...TWICE]))]],
  [
    'trailers',
    [frame(1, 4, 1, pack(CALL)), frame(0, 0, 1, Buffer.from('hello')), frame(1, 5, 1, pack(TWICE))],
  ],
])(
  'a call of gRPC whose %s HTTP/2 does not take is no fault of the sandbox, and others go on',
  async (_name, frames) => {
    const gateway = await startGateway()
    const server = await startH2c()
    gateway.routes.put('a', server.port)
    const client = dial(gateway.port)
    client.socket.write(Buffer.concat([PREFACE, ...frames]))
    await client.read('GENERAL::BAD_REQUEST')
    client.socket.write(PING)
    await client.read('pingping')
    expect((await ask(open(gateway.port), { 'content-type': 'application/grpc' })).body).toBe('ok')
  },
)

test.each([
  ['refused', 'ftp'],
  ['served', 'http'],
])('a request that is %s may be broken off in its own packet', async (_name, scheme) => {
  const gateway = await startGateway()
  const upstream = await startAnswering(OK)
  gateway.routes.put('a', upstream.port)
  const client = dial(gateway.port)
  const fields = CALL.map(([name, value]) => [name, name === ':scheme' ? scheme : value] as const)
  const reset = frame(3, 0, 1, Buffer.from([0, 0, 0, 8]))
  client.socket.write(Buffer.concat([PREFACE, frame(1, 5, 1, pack(fields)), reset, PING]))
  await client.read('pingping')
  expect((await ask(open(gateway.port))).body).toBe('ok')
})

// gRPC through the gateway, with the client and the server that most programs of Node use for it.

import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js'
import { expect, onTestFinished, test } from 'vitest'
import { startGateway, startRaw } from './support.ts'

const HOST = 'a-8000.localhost'
const asBytes = {
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
}
const SERVICE = {
  upper: { path: '/test.Echo/Upper', requestStream: false, responseStream: false, ...asBytes },
  fail: { path: '/test.Echo/Fail', requestStream: false, responseStream: false, ...asBytes },
  chat: { path: '/test.Echo/Chat', requestStream: true, responseStream: true, ...asBytes },
} satisfies ServiceDefinition

function identity(bytes: Buffer): Buffer {
  return bytes
}

async function startServer(): Promise<number> {
  const server = new Server()
  server.addService(SERVICE, {
    upper: (call: { request: Buffer }, done: (error: null, answer: Buffer, trailer: Metadata) => void) => {
      const trailer = new Metadata()
      trailer.set('x-length', String(call.request.length))
      done(null, Buffer.from(String(call.request).toUpperCase()), trailer)
    },
    fail: (_call: unknown, done: (error: object) => void) =>
      done({ code: status.FAILED_PRECONDITION, details: 'not today: 5 % too much' }),
    chat: (call: NodeJS.ReadWriteStream) => {
      call
        .on('data', (chunk: Buffer) => call.write(Buffer.from(`you said ${chunk}`)))
        .on('end', () => call.end())
    },
  })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  onTestFinished(() => server.forceShutdown())
  return port
}

async function startPair(): Promise<Client> {
  const gateway = await startGateway()
  gateway.routes.put('a', await startServer())
  return openClient(gateway.port)
}

function openClient(port: number): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.default_authority': HOST,
  })
  onTestFinished(() => client.close())
  return client
}

function call(client: Client, path: string, request: Buffer) {
  return new Promise<{ error: Error | null; answer: string; trailer: Metadata | undefined }>((resolve) => {
    let trailer: Metadata | undefined
    const running = client.makeUnaryRequest(path, identity, identity, request, (error, answer) =>
      setImmediate(() => resolve({ error, answer: String(answer), trailer })),
    )
    running.on('status', (ended) => {
      trailer = ended.metadata
    })
  })
}

test('G20: one question, one answer, with what follows it', async () => {
  const client = await startPair()
  const { error, answer, trailer } = await call(client, '/test.Echo/Upper', Buffer.from('hello'))
  expect([error, answer, trailer?.get('x-length')]).toEqual([null, 'HELLO', ['5']])
})

test('a large message, and many at a time', async () => {
  const client = await startPair()
  const large = await call(client, '/test.Echo/Upper', Buffer.alloc(2 ** 20, 'a'))
  expect(large.answer).toBe('A'.repeat(2 ** 20))
  const all = await Promise.all(
    Array.from({ length: 50 }, (_, at) => call(client, '/test.Echo/Upper', Buffer.from(`n${at}`))),
  )
  expect(all.map(({ answer }) => answer)).toEqual(Array.from({ length: 50 }, (_, at) => `N${at}`))
})

test('an error of the sandbox’s own, and one of the gateway', async () => {
  const client = await startPair()
  const { error } = await call(client, '/test.Echo/Fail', Buffer.from(''))
  expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, details: 'not today: 5 % too much' })
  expect((await call(client, '/test.Echo/None', Buffer.from(''))).error).toMatchObject({
    code: status.UNIMPLEMENTED,
  })

  const gateway = await startGateway()
  gateway.routes.put('a', 1)
  const refused = await call(openClient(gateway.port), '/test.Echo/Upper', Buffer.from(''))
  expect(refused.error).toMatchObject({ code: status.UNAVAILABLE })
})

test('both sides talk while the other does', async () => {
  const client = await startPair()
  const chat = client.makeBidiStreamRequest('/test.Echo/Chat', identity, identity)
  const heard: string[] = []
  let wake = () => {}
  chat.on('data', (chunk: Buffer) => {
    heard.push(String(chunk))
    wake()
  })
  for (const word of ['one', 'two', 'three']) {
    const answered = new Promise<void>((resolve) => {
      wake = resolve
    })
    chat.write(Buffer.from(word))
    await answered
  }
  const ended = new Promise((resolve) => chat.on('status', resolve))
  chat.end()
  expect(await ended).toMatchObject({ code: status.OK })
  expect(heard).toEqual(['you said one', 'you said two', 'you said three'])
})

test('a sandbox that does not speak HTTP/2 is said to be out of order', async () => {
  const gateway = await startGateway()
  const upstream = await startRaw((peer) =>
    peer.send('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'),
  )
  gateway.routes.put('a', upstream.port)
  const { error } = await call(openClient(gateway.port), '/test.Echo/Upper', Buffer.from(''))
  expect(error).toMatchObject({ code: status.UNAVAILABLE })
})

test('a connection to a sandbox that is gone ends with a reset, so that nothing more is sent to its address', async () => {
  const gateway = await startGateway()
  const upstream = await startRaw()
  gateway.routes.put('a', upstream.port)
  const called = call(openClient(gateway.port), '/test.Echo/Upper', Buffer.from('hello'))
  const peer = await upstream.peer(0)
  await peer.read('PRI * HTTP/2.0')
  gateway.routes.delete('a')
  await peer.ended()
  expect(peer.error).toMatchObject({ code: 'ECONNRESET' })
  expect((await called).error).toMatchObject({ code: status.UNAVAILABLE })
})

// Requests by HTTP/2 on their way: the client is Node's, and of the server each frame is written by hand.

import { once } from 'node:events'
import {
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { duplexPair } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { CODE, FLAG, FRAME } from '../../../egress/http2/frames.ts'
import type { Exchange } from '../../../egress/interception/exchange.ts'
import { relayHttp2 } from '../../../egress/interception/http2-relay.ts'
import { SecretFinder } from '../../../egress/interception/secret-finder.ts'
import { StallWatch } from '../../../egress/stall-watch.ts'
import type { Injection } from '../../../egress/vault/port.ts'
import { frame, pack } from '../../support/http2-frames.ts'
import { codeOf, Wire } from '../http2/wire.ts'
import { lookUntil } from '../stalling.ts'

const HOST = 'a.example'
const SECRET = 'sk-live-1234567890'
const FIRST_WINDOW_BYTES = 65_536
const OK = frame(FRAME.headers, FLAG.endHeaders, 1, pack([[':status', '200']]))
const WHOLE_OK = frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, pack([[':status', '200']]))
const INJECTION: Injection = {
  kind: 'inject',
  binding: 'b',
  revision: 1,
  headers: [['X-Key', SECRET]],
  substitutions: [{ placeholder: 'PLACE', value: SECRET, in: ['body'] }],
  secrets: [SECRET],
}

function setup({ injection, reached }: { injection?: Injection; reached?: Promise<void> } = {}) {
  const faults: unknown[] = []
  const stalls = new StallWatch({ queuedBytesOf: () => 0 })
  const servers: Wire[] = []
  const exchanges: Exchange[] = []
  const [theirs, ours] = duplexPair()
  const open = () => {
    const kept = servers.find(({ connection }) => connection.isOpen)
    if (kept) return kept.connection
    const server = new Wire({ stalls })
    server.greet()
    servers.push(server)
    return server.connection
  }
  relayHttp2({
    server: { scheme: 'https', host: HOST, port: 443 },
    vault: () => injection && { revision: 1, hasBindingFor: () => true, choose: () => injection },
    holdBody: () => () => {},
    onExchange: (exchange) => exchanges.push(exchange),
    onFault: (error) => faults.push(error),
    secrets: new SecretFinder(),
    stalls,
    open: () => (reached ? reached.then(open) : open()),
    client: ours,
  })
  const session = connectHttp2(`https://${HOST}`, { createConnection: () => theirs })
  session.on('error', () => {})
  onTestFinished(() => session.destroy())
  const ask = (headers: OutgoingHttpHeaders, endStream = true) => {
    const stream = session.request({ ':path': '/', ...headers }, { endStream })
    stream.on('error', () => {})
    return stream
  }
  const server = async (index: number) => {
    await expect.poll(() => servers.length).toBeGreaterThan(index)
    return servers[index] as Wire
  }
  return { ask, server, servers, exchanges, faults, stalls }
}

const statusOf = async (stream: ClientHttp2Stream) => (await once(stream, 'response'))[0][':status']

/** Also of one that is broken off. */
const closed = (stream: ClientHttp2Stream) => new Promise((resolve) => stream.on('close', resolve))

test('a request that the server has not begun is made once more, and its answer comes', async () => {
  const { ask, server, exchanges } = setup()
  const stream = ask({})
  const first = await server(0)
  await first.next(FRAME.headers)
  first.write(frame(FRAME.goaway, 0, 0, Buffer.alloc(8)))
  const second = await server(1)
  await second.next(FRAME.headers)
  second.write(WHOLE_OK)
  expect(await statusOf(stream)).toBe(200)
  stream.resume()
  await expect.poll(() => exchanges).toHaveLength(1)
})

test('one that is refused twice is answered 502; one whose body is under way is its client’s to make again', async () => {
  const { ask, server, servers } = setup()
  const refuse = async (wire: Wire) => {
    await wire.next(FRAME.headers)
    wire.write(frame(FRAME.goaway, 0, 0, Buffer.alloc(8)))
  }
  const twice = ask({})
  await refuse(await server(0))
  await refuse(await server(1))
  expect(await statusOf(twice)).toBe(502)
  const upload = ask({ ':method': 'POST' }, false)
  upload.write('begun')
  await refuse(await server(2))
  await closed(upload)
  expect(upload.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM)
  expect(servers).toHaveLength(3)
})

test('a server that answers before it has heard everything ends the request, and its answer is whole', async () => {
  const { ask, server, exchanges } = setup()
  const stream = ask({ ':method': 'POST' }, false)
  stream.write('begun')
  const wire = await server(0)
  expect(String((await wire.next(FRAME.data))?.payload)).toBe('begun')
  const reset = Buffer.alloc(4)
  wire.write(
    OK,
    frame(FRAME.data, FLAG.endStream, 1, Buffer.from('enough')),
    frame(FRAME.rstStream, 0, 1, reset),
  )
  expect(await statusOf(stream)).toBe(200)
  let text = ''
  stream.on('data', (part) => {
    text += part
  })
  await closed(stream)
  expect(text).toBe('enough')
  await expect.poll(() => exchanges.at(-1)).toMatchObject({ status: 200, bytesSent: 5, bytesReceived: 6 })
  expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR)
})

test('an answer that is broken off is broken off for the client', async () => {
  const { ask, server } = setup()
  const stream = ask({})
  const wire = await server(0)
  await wire.next(FRAME.headers)
  wire.write(OK, frame(FRAME.data, 0, 1, Buffer.from('half')))
  expect(await statusOf(stream)).toBe(200)
  wire.connection.destroy()
  stream.resume()
  await closed(stream)
  expect(stream.rstCode).not.toBe(constants.NGHTTP2_NO_ERROR)
})

test('a client that leaves ends the request at the server', async () => {
  const { ask, server, exchanges } = setup()
  const stream = ask({})
  const wire = await server(0)
  await wire.next(FRAME.headers)
  stream.close(constants.NGHTTP2_CANCEL)
  expect((await wire.next(FRAME.rstStream))?.payload.readUInt32BE(0)).toBe(CODE.cancel)
  await expect.poll(() => exchanges.at(-1)).toMatchObject({ status: 0 })
})

test('of answers that the client does not read what a stream begins with is kept each, and is let go when it leaves', async () => {
  const { ask, server } = setup()
  // So many that they take 5 MiB, a third of what may come.
  const ids = Array.from({ length: 80 }, (_, index) => 2 * index + 1)
  const streams = ids.map(() => ask({}))
  const wire = await server(0)
  for (const id of ids) {
    expect((await wire.next(FRAME.headers))?.stream).toBe(id)
    wire.write(frame(FRAME.headers, FLAG.endHeaders, id, pack([[':status', '200']])))
    const piece = frame(FRAME.data, 0, id, Buffer.alloc(16_384))
    wire.write(...Array.from({ length: FIRST_WINDOW_BYTES / 16_384 }, () => piece))
  }
  await Promise.all(streams.map(statusOf))
  await expect.poll(() => wire.connection.isClogged).toBe(true)
  for (const stream of streams) stream.destroy()
  await expect.poll(() => wire.connection.isClogged).toBe(false)
})

test.each([
  ['GET', true],
  ['HEAD', false],
])('a %s whose head is too long is told so, and no server hears of it', async (method, hasBody) => {
  const { ask, servers, exchanges } = setup()
  const many = Object.fromEntries(Array.from({ length: 170 }, (_, index) => [`x-${index}`, 'y']))
  const stream = ask({ ':method': method, ':path': '/long', ...many })
  const body = text(stream)
  expect(await statusOf(stream)).toBe(431)
  expect(await body).toBe(hasBody ? 'the head of the request is too long\n' : '')
  await expect
    .poll(() => exchanges)
    .toMatchObject([{ method, path: '/long', status: 431, refusal: 'the head of the request is too long' }])
  expect(servers).toEqual([])
})

async function lookUntilOver({ stalls, exchanges }: ReturnType<typeof setup>): Promise<Exchange | undefined> {
  await lookUntil(stalls, () => exchanges.length > 0)
  return exchanges[0]
}

test('a server that takes nothing of a request for too long is given up, and its client is answered', async () => {
  const world = setup()
  const upload = world.ask({ ':method': 'PUT' }, false)
  const answered = statusOf(upload)
  upload.write(Buffer.alloc(100_000))
  upload.resume()
  const wire = await world.server(0)
  await wire.next(FRAME.data)
  expect(await lookUntilOver(world)).toMatchObject({
    status: 504,
    refusal: `the server ${HOST} took nothing of the request for too long`,
  })
  expect(await answered).toBe(504)
  expect(codeOf(await wire.next(FRAME.rstStream))).toBe(CODE.cancel)
})

test('a client that takes nothing of an answer for too long is given up, and the server hears of it', async () => {
  const world = setup()
  const download = world.ask({})
  const wire = await world.server(0)
  await wire.next(FRAME.headers)
  // Node takes one byte less than that of what nobody reads.
  const pieces = Array.from({ length: 4 }, () => frame(FRAME.data, 0, 1, Buffer.alloc(16_384)))
  wire.write(OK, ...pieces)
  expect(await statusOf(download)).toBe(200)
  expect(await lookUntilOver(world)).toMatchObject({
    status: 200,
    refusal: 'its client took nothing of the answer for too long',
  })
  expect(codeOf(await wire.next(FRAME.rstStream))).toBe(CODE.cancel)
})

test('a body in which a secret is put is asked for by ourselves, and goes on whole', async () => {
  const { ask, server } = setup({ injection: INJECTION })
  const fields = { 'content-type': 'text/plain', 'content-length': '7', expect: '100-continue' }
  const stream = ask({ ':method': 'POST', ...fields }, false)
  await once(stream, 'continue')
  stream.write('<PLA')
  stream.end('CE>')
  const wire = await server(0)
  const head = await wire.next(FRAME.headers)
  expect(head && wire.fieldsOf(head)).toMatchObject({ 'content-length': '20', 'x-key': SECRET })
  expect(head && wire.fieldsOf(head)).not.toHaveProperty('expect')
  expect(String((await wire.next(FRAME.data))?.payload)).toBe(`<${SECRET}>`)
  wire.write(WHOLE_OK)
  expect(await statusOf(stream)).toBe(200)
  stream.resume()
})

test('what should not happen is told, and its client is answered', async () => {
  const fault = new Error('a mistake of ours')
  const reached = Promise.reject(fault)
  // It is asked for once the request has come.
  reached.catch(() => {})
  const { ask, faults, exchanges } = setup({ reached })
  expect(await statusOf(ask({}))).toBe(502)
  expect(faults).toEqual([fault])
  await expect.poll(() => exchanges.at(-1)?.refusal).toMatch(/for a reason that is ours/)
})

test('what comes byte by byte before the server can be reached goes on in one piece', async () => {
  const reached = Promise.withResolvers<void>()
  const { ask, server } = setup({ reached: reached.promise })
  const stream = ask({ ':method': 'POST' }, false)
  for (const byte of 'byte by byte') await new Promise((written) => stream.write(byte, written))
  reached.resolve()
  const wire = await server(0)
  await wire.next(FRAME.headers)
  const first = await wire.next(FRAME.data)
  const second = await wire.next(FRAME.data)
  expect([first, second].map((seen) => String(seen?.payload))).toEqual(['b', 'yte by byte'])
})

test('a path in which a secret is put is told to be in no table', async () => {
  const substitutions = [{ placeholder: 'PLACE', value: SECRET, in: ['path', 'query'] as const }]
  const { ask, server } = setup({ injection: { ...INJECTION, substitutions } })
  ask({ ':path': '/PLACE' })
  const wire = await server(0)
  const head = await wire.next(FRAME.headers)
  expect(head && wire.sensitiveOf(head)).toContain(':path')
  ask({ ':path': '/other' })
  const other = await wire.next(FRAME.headers)
  expect(other && wire.sensitiveOf(other)).not.toContain(':path')
})

test('what a secret is put in is told to be in no table, and the same of fields that came so', async () => {
  const { ask, server } = setup({ injection: INJECTION })
  // Node marks short cookies and credentials itself.
  ask({ cookie: 'a=b', 'x-mine': 'y', authorization: 'mine' })
  const wire = await server(0)
  const head = await wire.next(FRAME.headers)
  expect(head && wire.sensitiveOf(head).sort()).toEqual(['authorization', 'cookie', 'x-key'])
})

// What a connection of HTTP/2 makes of frames that are not as they should be, and of too many that are (RFC 9113; CVE-2019-9511 to 9518,
// CVE-2023-44487, CVE-2024-27316, CVE-2025-8671).

import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Http2ConnectionOptions, RequestListener } from '../../../egress/http2/connection.ts'
import { CODE, FLAG, FRAME } from '../../../egress/http2/frames.ts'
import type { RequestHead } from '../../../egress/http2/head.ts'
import type { Http2Stream } from '../../../egress/http2/stream.ts'
import { StallWatch } from '../../../egress/stall-watch.ts'
import { frame, PREFACE, pack, packNumber, packText, uint32 } from '../../support/http2-frames.ts'
import { DEAF, requestTo } from './ends.ts'
import { codeOf, Wire } from './wire.ts'

const GET = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', 'a.example'],
  [':path', '/'],
] as const
const POST = [[':method', 'POST'], ...GET.slice(1)] as const
const NOTHING = Buffer.alloc(0)
const END_HEADERS = FLAG.endHeaders
const WHOLE = FLAG.endHeaders | FLAG.endStream

const setting = (id: number, value: number) => Buffer.concat([Buffer.from([0, id]), uint32(value)])
const head = (stream: number, fields: Parameters<typeof pack>[0], flags = WHOLE) =>
  frame(FRAME.headers, flags, stream, pack(fields))
const opening = (fields = POST as Parameters<typeof pack>[0]) => head(1, fields, END_HEADERS)

/** A head in as many frames as it takes. */
function splitHead(stream: number, block: Buffer): Buffer[] {
  const pieces = Array.from({ length: Math.ceil(block.length / 16_384) }, (_, index) =>
    block.subarray(16_384 * index, 16_384 * (index + 1)),
  )
  return pieces.map((piece, index) =>
    frame(
      index === 0 ? FRAME.headers : FRAME.continuation,
      (index === 0 ? FLAG.endStream : 0) | (index === pieces.length - 1 ? FLAG.endHeaders : 0),
      stream,
      piece,
    ),
  )
}

type Request = { stream: Http2Stream; head: RequestHead; isWhole: boolean; closed: Promise<number> }

/** A server of ours that keeps what it hears. */
function serve(
  begin: (request: Request, listener: RequestListener) => void = () => {},
  options: Pick<Http2ConnectionOptions, 'stalls'> = {},
) {
  const requests: Request[] = []
  const data: Buffer[] = []
  const tooLong: RequestHead[] = []
  const wire = new Wire({
    ...options,
    serve: () => {
      let close = (_code: number) => {}
      const closed = new Promise<number>((resolve) => {
        close = resolve
      })
      const listener: RequestListener = {
        ...DEAF,
        onRequest(stream, came, isWhole) {
          const request = { stream, head: came, isWhole, closed }
          requests.push(request)
          begin(request, listener)
        },
        onTooLong: (_, came) => void tooLong.push(came),
        onData: (part) => void data.push(Buffer.from(part)),
        onClose: (code) => close(code),
      }
      return listener
    },
  })
  wire.write(PREFACE)
  return { wire, requests, data, tooLong }
}

const answer = ({ stream }: Request) => stream.sendHead([{ name: ':status', value: '200' }], true)

describe('a connection ends, and the client hears why, at', () => {
  test.each<[what: string, code: number, frames: Buffer[]]>([
    ['a frame that is too large', CODE.frameSize, [frame(FRAME.data, 0, 1, Buffer.alloc(16_385))]],
    ['a body without a head', CODE.protocol, [frame(FRAME.data, 0, 1, NOTHING)]],
    ['a body of the connection', CODE.protocol, [frame(FRAME.data, 0, 0, NOTHING)]],
    ['a head of the connection', CODE.protocol, [head(0, GET)]],
    ['a stream of a server', CODE.protocol, [head(2, GET)]],
    ['settings of a stream', CODE.protocol, [frame(FRAME.settings, 0, 1, NOTHING)]],
    ['settings that are cut off', CODE.frameSize, [frame(FRAME.settings, 0, 0, Buffer.alloc(5))]],
    ['settings in an answer', CODE.frameSize, [frame(FRAME.settings, FLAG.ack, 0, setting(1, 0))]],
    ['a window that is too large', CODE.flowControl, [frame(FRAME.settings, 0, 0, setting(4, 2 ** 31))]],
    ['frames that are too small', CODE.protocol, [frame(FRAME.settings, 0, 0, setting(5, 16_383))]],
    ['push that is neither on nor off', CODE.protocol, [frame(FRAME.settings, 0, 0, setting(2, 2))]],
    ['a push', CODE.protocol, [head(1, GET), frame(FRAME.pushPromise, END_HEADERS, 1, uint32(2))]],
    ['a ping of a stream', CODE.protocol, [frame(FRAME.ping, 0, 1, Buffer.alloc(8))]],
    ['a ping that is cut off', CODE.frameSize, [frame(FRAME.ping, 0, 0, Buffer.alloc(7))]],
    ['a goodbye that is cut off', CODE.frameSize, [frame(FRAME.goaway, 0, 0, Buffer.alloc(7))]],
    ['the end of a stream that was not begun', CODE.protocol, [frame(FRAME.rstStream, 0, 1, uint32(8))]],
    ['an end that is cut off', CODE.frameSize, [opening(), frame(FRAME.rstStream, 0, 1, Buffer.alloc(3))]],
    ['a window of a stream that was not begun', CODE.protocol, [frame(FRAME.windowUpdate, 0, 1, uint32(1))]],
    ['a window that is cut off', CODE.frameSize, [frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(3))]],
    ['a window that is wider by nothing', CODE.protocol, [frame(FRAME.windowUpdate, 0, 0, uint32(0))]],
    [
      'a window that becomes too large',
      CODE.flowControl,
      [frame(FRAME.windowUpdate, 0, 0, uint32(2 ** 31 - 1))],
    ],
    [
      'padding that is longer than the head',
      CODE.protocol,
      [frame(FRAME.headers, WHOLE | FLAG.padded, 1, Buffer.from([9, 1]))],
    ],
    [
      'padding that is longer than the body',
      CODE.protocol,
      [opening(), frame(FRAME.data, FLAG.padded, 1, Buffer.from([9, 1]))],
    ],
    [
      'a weight that is cut off',
      CODE.protocol,
      [frame(FRAME.headers, WHOLE | FLAG.priority, 1, Buffer.alloc(4))],
    ],
    ['the rest of no head', CODE.protocol, [frame(FRAME.continuation, END_HEADERS, 1, NOTHING)]],
    [
      'something within a head',
      CODE.protocol,
      [frame(FRAME.headers, FLAG.endStream, 1, NOTHING), frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    ],
    [
      'the rest of another head',
      CODE.protocol,
      [frame(FRAME.headers, FLAG.endStream, 1, NOTHING), frame(FRAME.continuation, END_HEADERS, 3, NOTHING)],
    ],
    [
      'a head without an end',
      CODE.enhanceYourCalm,
      [frame(FRAME.headers, 0, 1, NOTHING), ...Array(20).fill(frame(FRAME.continuation, 0, 1, NOTHING))],
    ],
    [
      'a head that cannot be unpacked',
      CODE.compression,
      [frame(FRAME.headers, WHOLE, 1, Buffer.from([0x80]))],
    ],
  ])('%s', async (_, code, frames) => {
    const { wire, requests } = serve()
    wire.write(...frames)
    const goaway = await wire.next(FRAME.goaway)
    expect(codeOf(goaway)).toBe(code)
    expect(String(goaway?.payload.subarray(8))).not.toBe('')
    expect(await wire.next(FRAME.headers)).toBeUndefined()
    await Promise.all(requests.map(({ closed }) => closed))
  })
})

test.each<[what: string, first: Buffer]>([
  ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')],
  ['no settings', Buffer.concat([PREFACE.subarray(0, 24), head(1, GET)])],
])('who begins with %s is heard no further', async (_, first) => {
  let heard = 0
  const wire = new Wire({ serve: () => ({ ...DEAF, onRequest: () => heard++ }) })
  wire.write(first)
  expect(codeOf(await wire.next(FRAME.goaway))).toBe(CODE.protocol)
  expect(heard).toBe(0)
})

describe('a stream is broken off, and the next one goes on, at', () => {
  test.each<[what: string, code: number, frames: Buffer[]]>([
    [
      'a pseudo field after the others',
      CODE.protocol,
      [head(1, [...GET.slice(0, 3), ['x', 'y'], [':path', '/']])],
    ],
    ['a pseudo field twice', CODE.protocol, [head(1, [...GET, [':path', '/']])]],
    [
      'a path twice, of which one is empty',
      CODE.protocol,
      [head(1, [...GET.slice(0, 3), [':path', ''], [':path', '/']])],
    ],
    ['a pseudo field that there is not', CODE.protocol, [head(1, [...GET, [':protocol', 'websocket']])]],
    ['no method', CODE.protocol, [head(1, GET.slice(1))]],
    ['no scheme', CODE.protocol, [head(1, GET.toSpliced(1, 1))]],
    ['no path', CODE.protocol, [head(1, GET.slice(0, 3))]],
    ['an empty path', CODE.protocol, [head(1, [...GET.slice(0, 3), [':path', '']])]],
    ['a name in large letters', CODE.protocol, [head(1, [...GET, ['X', 'y']])]],
    ['a name that is no token', CODE.protocol, [head(1, [...GET, ['x y', 'y']])]],
    ['an empty name', CODE.protocol, [head(1, [...GET, ['', 'y']])]],
    ['a value with a line end', CODE.protocol, [head(1, [...GET, ['x', 'a\r\nb: c']])]],
    ['a value with a NUL', CODE.protocol, [head(1, [...GET, ['x', 'a\0']])]],
    ['a value that begins with a blank', CODE.protocol, [head(1, [...GET, ['x', ' a']])]],
    ['a path with a line end', CODE.protocol, [head(1, [...GET.slice(0, 3), [':path', '/\n']])]],
    ['a field of the connection', CODE.protocol, [head(1, [...GET, ['connection', 'close']])]],
    ['a transfer coding', CODE.protocol, [head(1, [...GET, ['transfer-encoding', 'chunked']])]],
    ['a TE other than trailers', CODE.protocol, [head(1, [...GET, ['te', 'gzip']])]],
    ['two hosts', CODE.protocol, [head(1, [...GET, ['host', 'a.example'], ['host', 'a.example']])]],
    ['two lengths', CODE.protocol, [head(1, [...GET, ['content-length', '0'], ['content-length', '0']])]],
    ['a length that is none', CODE.protocol, [head(1, [...GET, ['content-length', '+1']])]],
    ['a length without a body', CODE.protocol, [head(1, [...GET, ['content-length', '1']])]],
    [
      'a body that is longer than it says',
      CODE.protocol,
      [opening([...POST, ['content-length', '1']]), frame(FRAME.data, 0, 1, Buffer.from('ab'))],
    ],
    [
      'a body that is shorter than it says',
      CODE.protocol,
      [opening([...POST, ['content-length', '3']]), frame(FRAME.data, FLAG.endStream, 1, Buffer.from('ab'))],
    ],
    ['trailers without an end', CODE.protocol, [opening(), head(1, [['x', 'y']], END_HEADERS)]],
    ['a pseudo field in trailers', CODE.protocol, [opening(), head(1, [[':path', '/']])]],
    [
      'a window that is wider by nothing',
      CODE.protocol,
      [opening(), frame(FRAME.windowUpdate, 0, 1, uint32(0))],
    ],
    [
      'a window that becomes too large',
      CODE.flowControl,
      [opening(), frame(FRAME.windowUpdate, 0, 1, uint32(2 ** 31 - 1))],
    ],
    [
      'a body after its end',
      CODE.streamClosed,
      [opening(), frame(FRAME.data, FLAG.endStream, 1, NOTHING), frame(FRAME.data, 0, 1, Buffer.from('a'))],
    ],
    [
      'too many fields behind a body',
      CODE.enhanceYourCalm,
      [opening(), head(1, Array(200).fill(['x', 'y']))],
    ],
    [
      'too many fields of which one that should come first comes twice',
      CODE.protocol,
      [head(1, [...GET, [':path', '/'], ...Array(200).fill(['x', 'y'])])],
    ],
  ])('%s', async (_, code, frames) => {
    const { wire, requests } = serve((request) => {
      if (request.stream.id === 3) answer(request)
    })
    wire.write(...frames, head(3, GET))
    const reset = await wire.next(FRAME.rstStream)
    expect([reset?.stream, codeOf(reset)]).toEqual([1, code])
    const next = await wire.next(FRAME.headers)
    expect(next && wire.fieldsOf(next)).toEqual({ ':status': '200' })
    for (const { stream, closed } of requests) if (stream.id === 1) expect(await closed).toBe(code)
  })
})

test.each<[what: string, fields: Parameters<typeof pack>[0]]>([
  ['has too many fields', [...GET, ...Array(200).fill(['x', 'y'])]],
  ['is too long in sum', [...GET, ...Array(100).fill(['x', 'y'.repeat(640)])]],
])('a head that %s is heard of by its beginning, and the next one goes on', async (_, fields) => {
  const { wire, requests, tooLong } = serve((request) => answer(request))
  // What it adds to the table is there for the next.
  const added = Buffer.concat([Buffer.from([0x40]), packText('x-added'), packText('z')])
  wire.write(...splitHead(1, Buffer.concat([pack(fields), added])))
  wire.write(frame(FRAME.headers, WHOLE, 3, Buffer.concat([pack(GET), Buffer.from([0x80 | 62])])))
  expect((await wire.next(FRAME.headers))?.stream).toBe(3)
  expect(tooLong).toMatchObject([{ method: 'GET', path: '/', authority: 'a.example' }])
  expect(requests[0]?.head.fields).toMatchObject([{ name: 'x-added', value: 'z' }])
})

/** 70,000 zeros, each five bits of nothing (RFC 7541 B). */
const MANY_ZEROS = Buffer.concat([packNumber(0x80, 127, 43_750), Buffer.alloc(43_750)])
const LONGEST = `/${'x'.repeat(65_449)}`

test.each<[what: string, block: Buffer, known: { method: string; path: string }]>([
  [
    'path',
    Buffer.concat([pack([[':method', 'HEAD']]), Buffer.from([4]), MANY_ZEROS, pack(GET.slice(1, 3))]),
    { method: 'HEAD', path: '' },
  ],
  ['method', Buffer.concat([Buffer.from([2]), MANY_ZEROS, pack(GET.slice(1))]), { method: '', path: '' }],
  [
    'path before the scheme',
    pack([[':method', 'GET'], [':path', LONGEST], ...GET.slice(1, 3)]),
    { method: 'GET', path: LONGEST },
  ],
])(
  'a head whose %s is too long by itself is heard of, too, and the next one goes on',
  async (_, block, known) => {
    const { wire, tooLong } = serve((request) => answer(request))
    wire.write(...splitHead(1, block), head(3, GET))
    expect((await wire.next(FRAME.headers))?.stream).toBe(3)
    expect(tooLong).toMatchObject([known])
  },
)

describe('too much that costs its client nothing ends the connection:', () => {
  const many = (count: number, make: (index: number) => Buffer) =>
    Array.from({ length: count }, (_, index) => make(index))
  const reset = (index: number) =>
    Buffer.concat([
      head(2 * index + 1, POST, END_HEADERS),
      frame(FRAME.rstStream, 0, 2 * index + 1, uint32(8)),
    ])
  test.each<[what: string, frames: Buffer[]]>([
    ['streams that are begun and broken off', many(300, reset)],
    ['streams that we have to break off', many(300, (index) => head(2 * index + 1, [...GET, ['X', 'y']]))],
    [
      'answers to pings that nobody has sent',
      many(2000, () => frame(FRAME.ping, FLAG.ack, 0, Buffer.alloc(8))),
    ],
    [
      'heads that are too long',
      many(300, (index) => head(2 * index + 1, [...GET, ...Array(160).fill(['x', ''])])),
    ],
    ['settings', many(2000, () => frame(FRAME.settings, 0, 0, NOTHING))],
    ['priorities', many(2000, () => frame(FRAME.priority, 0, 1, Buffer.alloc(5)))],
    ['frames of no known type', many(2000, () => frame(99, 0, 0, NOTHING))],
    ['empty pieces of a body', [opening(), ...many(2000, () => frame(FRAME.data, 0, 1, NOTHING))]],
    ['heads of streams that are over', [head(1, [...GET, ['X', 'y']]), ...many(2000, () => head(1, GET))]],
  ])('%s', async (_, frames) => {
    const { wire } = serve()
    wire.write(...frames)
    expect(codeOf(await wire.next(FRAME.goaway))).toBe(CODE.enhanceYourCalm)
  })

  test('more than may be on its way', async () => {
    const { wire } = serve()
    const full = frame(FRAME.data, 0, 1, Buffer.alloc(16_384))
    wire.write(opening(), ...many(5, () => full))
    const broken = await wire.next(FRAME.rstStream)
    expect(codeOf(broken)).toBe(CODE.flowControl)
  })

  test('what is said and not read', async () => {
    const { wire } = serve(({ stream }) => {
      stream.sendHead([{ name: ':status', value: '200' }], false)
      for (let piece = 0; piece < 100; piece++)
        stream.sendHead(
          [
            { name: ':status', value: '103' },
            { name: 'link', value: 'x'.repeat(100_000) },
          ],
          false,
        )
    })
    wire.stopReading()
    wire.write(head(1, GET))
    await expect.poll(() => wire.connection.isOpen).toBe(false)
  })
})

test('a stream above those that may be open is refused, and may be tried again', async () => {
  const { wire, requests } = serve()
  for (let index = 0; index < 129; index++) wire.write(head(2 * index + 1, POST, END_HEADERS))
  const refused = await wire.next(FRAME.rstStream)
  expect([refused?.stream, codeOf(refused)]).toEqual([257, CODE.refusedStream])
  expect(requests).toHaveLength(128)
})

test('a body goes on no faster than its receiver lets it go', async () => {
  const { wire, data, requests } = serve()
  const piece = Buffer.alloc(16_384)
  wire.write(opening(), ...Array.from({ length: 4 }, () => frame(FRAME.data, 0, 1, piece)))
  await expect.poll(() => data.length).toBe(4)
  requests[0]?.stream.letGo(100)
  wire.write(frame(FRAME.ping, 0, 0, Buffer.alloc(8)))
  // Nothing is granted for so little.
  const seen = await wire.next(FRAME.ping)
  expect(seen?.flags).toBe(FLAG.ack)
  requests[0]?.stream.letGo(40_000)
  const update = await wire.next(FRAME.windowUpdate)
  // As it is read, as much again may be on its way.
  expect([update?.stream, update?.payload.readUInt32BE(0)]).toEqual([1, 40_100 + 65_536])
})

test('what is let go of one body is granted anew when all of the window is taken, though others hold the rest', async () => {
  const { wire, requests, data } = serve()
  const piece = Buffer.alloc(16_384)
  const ids = Array.from({ length: 64 }, (_, index) => 2 * index + 1)
  for (const id of ids) {
    wire.write(head(id, POST, END_HEADERS))
    wire.write(...Array.from({ length: 4 }, () => frame(FRAME.data, 0, id, piece)))
  }
  await expect.poll(() => data.length).toBe(4 * ids.length)
  // What is granted at the beginning.
  await wire.next(FRAME.windowUpdate)
  requests[0]?.stream.letGo(100)
  const update = await wire.next(FRAME.windowUpdate)
  expect([update?.stream, update?.payload.readUInt32BE(0)]).toEqual([0, 100])
})

test('what is sent waits for the windows of the client: of the stream, and of all together', async () => {
  const { wire, requests } = serve(({ stream }) => {
    stream.sendHead([{ name: ':status', value: '200' }], false)
    stream.send(Buffer.alloc(100_000, 'a'), true)
  })
  wire.write(head(1, GET), head(3, GET))
  const sizes: [number, number][] = []
  const readUntil = async (bytes: number) => {
    while (sizes.reduce((sum, [, size]) => sum + size, 0) < bytes) {
      const seen = await wire.next(FRAME.data)
      if (!seen) throw new Error('the connection has ended')
      sizes.push([seen.stream, seen.payload.length])
    }
  }
  await readUntil(65_535)
  expect(new Set(sizes.map(([stream]) => stream))).toEqual(new Set([1]))
  expect(requests.map(({ stream }) => stream.pendingBytes)).toEqual([34_465, 100_000])
  wire.write(frame(FRAME.windowUpdate, 0, 0, uint32(200_000)))
  await readUntil(2 * 65_535)
  expect(requests.map(({ stream }) => stream.pendingBytes)).toEqual([34_465, 34_465])
  wire.write(frame(FRAME.settings, 0, 0, setting(4, 100_000)))
  await readUntil(200_000)
  expect(await Promise.all(requests.map(({ closed }) => closed))).toEqual([0, 0])
})

test('who asks often how far it is gets an answer each time', async () => {
  const { wire } = serve()
  for (let count = 0; count < 3000; count++) wire.write(frame(FRAME.ping, 0, 0, Buffer.alloc(8)))
  for (let count = 0; count < 3000; count++) expect((await wire.next(FRAME.ping))?.flags).toBe(FLAG.ack)
})

test('that no more of a request is needed is said after the answer, and not in one piece with it', async () => {
  const { wire } = serve(({ stream }) => {
    stream.sendHead([{ name: ':status', value: '413' }], false)
    stream.send(Buffer.from('too much'), true)
    stream.endEarly()
  })
  wire.write(opening())
  const body = await wire.next(FRAME.data)
  const reset = await wire.next(FRAME.rstStream)
  expect([body?.flags, codeOf(reset)]).toEqual([FLAG.endStream, CODE.none])
  expect(reset?.piece).toBeGreaterThan(body?.piece ?? 0)
})

test('a client that does not read is not listened to until it does', async () => {
  const { wire, requests } = serve(({ stream }) =>
    stream.sendHead(
      [
        { name: ':status', value: '204' },
        { name: 'x-long', value: 'y'.repeat(20_000) },
      ],
      true,
    ),
  )
  const count = 60
  wire.stopReading()
  for (let index = 0; index < count; index++) {
    wire.write(head(2 * index + 1, GET))
    // What was made in this turn goes out with the next.
    await setImmediate()
  }
  expect(requests.length).toBeLessThan(count / 2)
  wire.goOnReading()
  await expect.poll(() => requests.length).toBe(count)
})

test('a client that needs no connection any more is waited for until its streams are over', async () => {
  const { wire, requests } = serve()
  wire.write(head(1, GET), frame(FRAME.goaway, 0, 0, Buffer.alloc(8)))
  await expect.poll(() => requests.length).toBe(1)
  const [request] = requests
  if (request) answer(request)
  expect((await wire.next(FRAME.headers))?.stream).toBe(1)
  await expect.poll(() => wire.isClosed).toBe(true)
})

test('a request that comes after the end of requests is not begun, and what follows of it harms no other', async () => {
  const { wire, requests } = serve()
  wire.write(opening(), frame(FRAME.goaway, 0, 0, Buffer.alloc(8)))
  wire.write(head(3, POST, END_HEADERS), frame(FRAME.data, FLAG.endStream, 3, Buffer.from('x')))
  wire.write(frame(FRAME.data, FLAG.endStream, 1, NOTHING))
  await expect.poll(() => requests[0]?.stream.hasRemoteEnded).toBe(true)
  const [request] = requests
  if (request) answer(request)
  expect((await wire.next(FRAME.headers))?.stream).toBe(1)
  expect(requests).toHaveLength(1)
})

test('a stream that waits for its window for too long is broken off, and those that take some or are owed nothing are not', async () => {
  const stalls = new StallWatch({ queuedBytesOf: () => 0 })
  const { wire, requests } = serve(
    ({ stream }) => {
      stream.sendHead([{ name: ':status', value: '200' }], false)
      if (stream.id !== 5) stream.send(Buffer.alloc(70_000), false)
    },
    { stalls },
  )
  wire.write(frame(FRAME.windowUpdate, 0, 0, uint32(1_000_000)), head(1, GET), head(3, GET), head(5, GET))
  await expect.poll(() => requests.map(({ stream }) => stream.pendingBytes)).toEqual([4465, 4465, 0])
  stalls.look(0)
  wire.write(frame(FRAME.windowUpdate, 0, 3, uint32(1)))
  await expect.poll(() => requests[1]?.stream.pendingBytes).toBe(4464)
  stalls.look(stalls.limitMs - 1)
  expect(requests.map(({ stream }) => stream.isClosed)).toEqual([false, false, false])
  stalls.look(stalls.limitMs)
  const reset = await wire.next(FRAME.rstStream)
  expect([reset?.stream, codeOf(reset)]).toEqual([1, CODE.cancel])
  expect(requests.map(({ stream }) => [stream.isClosed, stream.isGivenUp])).toEqual([
    [true, true],
    [false, false],
    [false, false],
  ])
})

test('streams that wait for the window of all are given up only when none takes anything', async () => {
  const stalls = new StallWatch({ queuedBytesOf: () => 0 })
  const { wire, requests } = serve(
    ({ stream }) => {
      stream.sendHead([{ name: ':status', value: '200' }], false)
      stream.send(Buffer.alloc(60_000), false)
    },
    { stalls },
  )
  wire.write(head(1, GET), head(3, GET), head(5, GET))
  await expect.poll(() => requests.map(({ stream }) => stream.pendingBytes)).toEqual([0, 54_465, 60_000])
  const isClosed = () => requests.map(({ stream }) => stream.isClosed)
  stalls.look(0)
  wire.write(frame(FRAME.windowUpdate, 0, 0, uint32(10)))
  await expect.poll(() => requests[1]?.stream.pendingBytes).toBe(54_455)
  stalls.look(stalls.limitMs)
  expect(isClosed()).toEqual([false, false, false])
  stalls.look(2 * stalls.limitMs)
  expect(isClosed()).toEqual([false, true, true])
})

describe('with a server', () => {
  const ask = (wire: Wire, isHead = false) => {
    const heard: unknown[] = []
    const stream = wire.connection.request(requestTo('a.example', isHead ? { method: 'HEAD' } : {}), {
      isWhole: true,
      isHead,
      listener: {
        ...DEAF,
        onInterim: (status) => heard.push(status),
        onAnswer: (status) => heard.push(status),
        onData: (part) => heard.push(String(part)),
        onClose: (code) => heard.push({ code }),
      },
    })
    return { stream, heard }
  }

  test('requests wait for as many as it takes at a time, and it is heard when it takes no more', async () => {
    const wire = new Wire({})
    wire.greet(frame(FRAME.settings, 0, 0, setting(3, 1)))
    await wire.next(FRAME.settings)
    expect((await wire.next(FRAME.settings))?.flags).toBe(FLAG.ack)
    ask(wire)
    const late = ask(wire)
    expect(late.stream.id).toBe(0)
    wire.write(head(1, [[':status', '204']]))
    await expect.poll(() => late.stream.id).toBe(3)
    const last = ask(wire)
    wire.write(frame(FRAME.goaway, 0, 0, Buffer.concat([uint32(1), uint32(0)])))
    await expect
      .poll(() => [late.heard, last.heard])
      .toEqual([[{ code: CODE.refusedStream }], [{ code: CODE.refusedStream }]])
    expect(wire.connection.isOpen).toBe(false)
    const after = ask(wire)
    await expect.poll(() => after.heard).toEqual([{ code: CODE.refusedStream }])
  })

  /** What a server may send: on each stream at first, and on all together. */
  const windowsOf = async (wire: Wire) => {
    const settings = await wire.next(FRAME.settings)
    const all = await wire.next(FRAME.windowUpdate)
    const entries = settings?.payload ?? NOTHING
    let each = 65_535
    for (let at = 0; at < entries.length; at += 6)
      if (entries.readUInt16BE(at) === 4) each = entries.readUInt32BE(at + 2)
    return { each, all: 65_535 + (all?.payload.readUInt32BE(0) ?? 0) }
  }
  /** An answer that has come as far as it may. */
  const unread = (id: number, bytes: number) =>
    Buffer.concat([
      head(id, [[':status', '200']], END_HEADERS),
      ...Array.from({ length: Math.ceil(bytes / 16_384) }, (_, index) =>
        frame(FRAME.data, 0, id, Buffer.alloc(Math.min(16_384, bytes - index * 16_384))),
      ),
    ])

  test('forty answers that come as far as they may, and that nobody reads, leave room for another', async () => {
    const wire = new Wire({})
    wire.greet()
    let { each, all } = await windowsOf(wire)
    for (let id = 1; id < 81; id += 2) {
      ask(wire)
      const bytes = Math.min(each, all)
      wire.write(unread(id, bytes))
      all -= bytes
    }
    const { heard } = ask(wire)
    const body = 'x'.repeat(Math.min(10, all))
    wire.write(head(81, [[':status', '200']], END_HEADERS), frame(FRAME.data, 1, 81, Buffer.from(body)))
    await expect.poll(() => heard).toEqual([200, 'xxxxxxxxxx', { code: 0 }])
    expect(wire.connection.isClogged).toBe(false)
  })

  test('one on which as much waits as may come takes no more requests, and goes on with them when that is read', async () => {
    const wire = new Wire({})
    wire.greet(frame(FRAME.settings, 0, 0, setting(3, 1000)))
    const { each, all } = await windowsOf(wire)
    await wire.next(FRAME.settings)
    const room = all / each
    const asked = Array.from({ length: room }, (_, index) => {
      const asked = ask(wire)
      wire.write(unread(2 * index + 1, each))
      return asked
    })
    await expect.poll(() => asked.every(({ heard }) => heard.length > each / 16_384)).toBe(true)
    expect([room, wire.connection.isFull, wire.connection.isClogged]).toEqual([256, true, true])
    const late = ask(wire)
    expect(late.stream.id).toBe(0)
    // Complete, but not read yet.
    wire.write(frame(FRAME.data, FLAG.endStream, 1, NOTHING))
    await expect.poll(() => asked[0]?.heard.at(-1)).toEqual({ code: 0 })
    expect(late.stream.id).toBe(0)
    asked[0]?.stream.letGo(each)
    expect(late.stream.id).toBe(2 * room + 1)
  })

  test('a stream may send more ahead once it is read, and most when that is as fast as it comes', async () => {
    const wire = new Wire({})
    wire.greet()
    const { each } = await windowsOf(wire)
    const [quick, slow] = [ask(wire), ask(wire)]
    for (const [id, { stream, heard }] of [
      [1, quick],
      [3, slow],
    ] as const) {
      wire.write(unread(id, each))
      await expect.poll(() => heard.length).toBe(1 + each / 16_384)
      stream.letGo(id === 1 ? each : each / 2)
    }
    const updates = [await wire.next(FRAME.windowUpdate), await wire.next(FRAME.windowUpdate)]
    expect(updates.map((update) => [update?.stream, update?.payload.readUInt32BE(0)])).toEqual([
      [1, 1024 * 1024],
      [3, each / 2 + each],
    ])
  })

  test.each<[what: string, frames: Buffer[], heard: unknown[], isHead?: boolean]>([
    [
      'an answer before the answer',
      [head(1, [[':status', '103']], END_HEADERS), head(1, [[':status', '200']])],
      [103, 200, { code: 0 }],
    ],
    [
      'a length that nothing follows after HEAD',
      [
        head(1, [
          [':status', '200'],
          ['content-length', '5'],
        ]),
      ],
      [200, { code: 0 }],
      true,
    ],
    [
      'a body after HEAD',
      [head(1, [[':status', '200']], END_HEADERS), frame(FRAME.data, 1, 1, Buffer.from('x'))],
      [200, { code: CODE.protocol }],
      true,
    ],
    [
      'a body after 304',
      [head(1, [[':status', '304']], END_HEADERS), frame(FRAME.data, 1, 1, Buffer.from('x'))],
      [304, { code: CODE.protocol }],
    ],
    [
      'a length that nothing follows',
      [
        head(1, [
          [':status', '200'],
          ['content-length', '5'],
        ]),
      ],
      [{ code: CODE.protocol }],
    ],
    ['another protocol', [head(1, [[':status', '101']], END_HEADERS)], [{ code: CODE.protocol }]],
    ['no status', [head(1, [['x', 'y']])], [{ code: CODE.protocol }]],
    ['a body without a head', [frame(FRAME.data, 1, 1, Buffer.from('x'))], [{ code: CODE.protocol }]],
    [
      'an end before it is over',
      [head(1, [[':status', '200']], END_HEADERS), frame(FRAME.rstStream, 0, 1, uint32(0))],
      [200, { code: CODE.cancel }],
    ],
    ['an answer to nothing', [head(3, [[':status', '200']])], [{ code: CODE.protocol }]],
    ['a push', [frame(FRAME.pushPromise, END_HEADERS, 1, uint32(2))], [{ code: CODE.protocol }]],
    [
      'the end of the connection',
      [frame(FRAME.goaway, 0, 0, Buffer.alloc(8))],
      [{ code: CODE.refusedStream }],
    ],
  ])('%s', async (_, frames, expected, isHead) => {
    const wire = new Wire({})
    const { heard } = ask(wire, isHead)
    wire.greet()
    wire.write(...frames)
    await expect.poll(() => heard).toEqual(expected)
  })
})

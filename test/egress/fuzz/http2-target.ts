// Connections of HTTP/2, frame by frame, read beside nghttp2: every request that egress finds nghttp2 must find, too, and as the same,
// unless it has given up a connection of which egress gives up a stream only. However they are cut into pieces, the same is found.

import { createServer, type ServerHttp2Stream } from 'node:http2'
import { Duplex } from 'node:stream'
import { Http2Connection } from '../../../egress/http2/connection.ts'
import { FLAG, FRAME } from '../../../egress/http2/frames.ts'
import type { Random } from '../../gateway/strict/mutate.ts'
import { frame, PREFACE, pack, uint32 } from '../../support/http2-frames.ts'
import { DEAF } from '../http2/ends.ts'
import { mutateBytes, pick } from './mutate.ts'
import { type FuzzTarget, hex, unhex } from './target.ts'

type Found = Map<number, string>

const HEAD = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', 'a.example'],
  [':path', '/'],
] as const
const WHOLE = FLAG.endHeaders | FLAG.endStream
const IDLE_MS = 60_000
const MAX_FRAMES = 12
const MUTATED_IN = 3

const head = (stream: number, fields: Parameters<typeof pack>[0], flags: number = WHOLE) =>
  frame(FRAME.headers, flags, stream, pack(fields))
const STREAMS = [1, 3, 5, 7]

/** What may come of a stream, right or wrong there. */
const OF_A_STREAM: readonly ((stream: number) => Buffer)[] = [
  (stream) => head(stream, HEAD),
  (stream) => head(stream, HEAD, FLAG.endHeaders),
  (stream) => head(stream, [...HEAD, ['content-length', '3']], FLAG.endHeaders),
  (stream) => head(stream, [...HEAD, ['x', 'y'], ['te', 'trailers'], ['cookie', 'a=b']]),
  (stream) => head(stream, [...HEAD, ['host', 'b.example']]),
  (stream) => head(stream, [...HEAD, [':path', '/two']]),
  (stream) => head(stream, [...HEAD.slice(0, 3), ['x', 'y'], [':path', '/late']]),
  (stream) => head(stream, HEAD.slice(1)),
  (stream) => head(stream, [...HEAD, ['connection', 'close']]),
  (stream) => head(stream, [...HEAD, ['Upper', 'y']]),
  (stream) => head(stream, [['x', 'y']]),
  (stream) => head(stream, [['x', 'y']], FLAG.endHeaders),
  (stream) =>
    frame(
      FRAME.headers,
      WHOLE | FLAG.padded,
      stream,
      Buffer.concat([Buffer.from([2]), pack(HEAD), Buffer.alloc(2)]),
    ),
  (stream) =>
    frame(FRAME.headers, WHOLE | FLAG.priority, stream, Buffer.concat([Buffer.alloc(5), pack(HEAD)])),
  (stream) => frame(FRAME.headers, FLAG.endStream, stream, pack(HEAD.slice(0, 2))),
  (stream) => frame(FRAME.continuation, FLAG.endHeaders, stream, pack(HEAD.slice(2))),
  (stream) => frame(FRAME.continuation, 0, stream, Buffer.alloc(0)),
  (stream) => frame(FRAME.data, 0, stream, Buffer.from('abc')),
  (stream) => frame(FRAME.data, FLAG.endStream, stream, Buffer.from('abc')),
  (stream) => frame(FRAME.data, FLAG.padded | FLAG.endStream, stream, Buffer.from([1, 97, 98, 99, 0])),
  (stream) => frame(FRAME.data, FLAG.padded, stream, Buffer.from([9, 1])),
  (stream) => frame(FRAME.rstStream, 0, stream, uint32(8)),
  (stream) => frame(FRAME.priority, 0, stream, Buffer.alloc(5)),
  (stream) => frame(FRAME.windowUpdate, 0, stream, uint32(1000)),
  (stream) => frame(FRAME.windowUpdate, 0, stream, uint32(0)),
  (stream) => frame(FRAME.pushPromise, FLAG.endHeaders, stream, uint32(2)),
]
const OF_THE_CONNECTION: readonly Buffer[] = [
  frame(FRAME.settings, 0, 0, Buffer.alloc(0)),
  frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0)),
  frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(10)])),
  frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 5]), uint32(1)])),
  frame(FRAME.ping, 0, 0, Buffer.alloc(8)),
  frame(FRAME.ping, 0, 0, Buffer.alloc(7)),
  frame(FRAME.windowUpdate, 0, 0, uint32(1000)),
  frame(FRAME.goaway, 0, 0, Buffer.alloc(8)),
  frame(99, 0, 1, Buffer.from('what')),
]
const SEEDS = [
  [head(1, HEAD), head(3, [...HEAD, ['x', 'y']])],
  [head(1, HEAD, FLAG.endHeaders), frame(FRAME.data, 0, 1, Buffer.from('abc')), head(1, [['x', 'y']])],
  [head(1, [...HEAD.slice(0, 3), [':path', ''], [':path', '/']]), head(3, HEAD)],
  [OF_A_STREAM[14]!(1), OF_A_STREAM[15]!(1), head(3, HEAD)],
].map((frames) => Buffer.concat(frames))

export function createHttp2Target(): FuzzTarget {
  const readByNghttp2 = createNghttp2Reader()
  return {
    make: (random) => hex(makeFrames(random)),
    check: async (made) => {
      const bytes = Buffer.concat([PREFACE, unhex(made)])
      const whole = await readByUs([bytes])
      const cut = await readByUs([...bytes].map((byte) => Buffer.from([byte])))
      if (textOf(whole) !== textOf(cut))
        return `byte by byte egress finds ${textOf(cut)}, not ${textOf(whole)}`
      const theirs = await readByNghttp2(bytes)
      for (const [id, found] of whole) {
        const other = theirs.found.get(id)
        if (other === found || other === withoutImproperHost(found)) continue
        if (other === undefined && (theirs.hasGivenUp || isJudgedLater(found))) continue
        return `egress finds ${found} on stream ${id}, and nghttp2 ${other}`
      }
      return undefined
    },
    corpus: SEEDS.map(hex),
  }
}

function makeFrames(random: Random): Buffer {
  const frames = Array.from({ length: 1 + random(MAX_FRAMES) }, () =>
    random(4) === 0 ? pick(OF_THE_CONNECTION, random)! : pick(OF_A_STREAM, random)!(pick(STREAMS, random)!),
  )
  const made = Buffer.concat([head(1, HEAD, FLAG.endHeaders), ...frames])
  return random(MUTATED_IN) > 0 ? made : mutateBytes({ seeds: [made], words: OF_THE_CONNECTION }, random)
}

async function readByUs(pieces: readonly Buffer[]): Promise<Found> {
  const found: Found = new Map()
  await feed(pieces, (socket) => {
    // It lives for as long as its socket.
    new Http2Connection({
      socket,
      idleMs: IDLE_MS,
      serve: () => ({
        ...DEAF,
        onRequest: ({ id }, { method, scheme, path, authority, host, fields }) => {
          const pairs = fields.map(({ name, value }) => [name, value])
          found.set(id, JSON.stringify([method, scheme, path, authority, host || undefined, pairs.sort()]))
        },
      }),
    })
  })
  return found
}

function createNghttp2Reader() {
  let found: Found = new Map()
  let hasGivenUp = false
  const server = createServer()
  server.on('session', (session) => {
    session.on('error', () => {
      hasGivenUp = true
    })
  })
  server.on('sessionError', () => undefined)
  server.on('stream', (stream: ServerHttp2Stream, _headers: unknown, _flags: number, raw: string[]) => {
    stream.on('error', () => undefined)
    const pairs: [string, string][] = []
    for (let at = 0; at < raw.length; at += 2) pairs.push([raw[at]!, raw[at + 1]!])
    const find = (wanted: string) => pairs.find(([name]) => name === wanted)?.[1]
    const fields = pairs.filter(([name]) => !name.startsWith(':') && name !== 'host')
    found.set(
      stream.id ?? 0,
      JSON.stringify([
        find(':method'),
        find(':scheme'),
        find(':path'),
        find(':authority'),
        find('host') || undefined,
        fields.sort(),
      ]),
    )
  })
  return async (bytes: Buffer): Promise<{ found: Found; hasGivenUp: boolean }> => {
    found = new Map()
    hasGivenUp = false
    await feed([bytes], (socket) => void server.emit('connection', socket))
    return { found, hasGivenUp }
  }
}

/** Resolves when everything was read, or nothing more is. */
function feed(pieces: readonly Buffer[], serve: (socket: Duplex) => void): Promise<void> {
  return new Promise((resolve) => {
    const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })
    socket.on('error', () => undefined)
    // What is closed is let go of only between two turns of the loop.
    socket.on('close', () => setImmediate(resolve))
    serve(socket)
    for (const piece of pieces) socket.push(piece)
    socket.push(null)
  })
}

function textOf(found: Found): string {
  return JSON.stringify([...found])
}

/** A field `host` that can name nobody is left out by nghttp2; here it is read, as who names another server in it is refused. */
function withoutImproperHost(found: string): string {
  const [method, scheme, path, authority, host, fields] = JSON.parse(found) as (string | null)[]
  const proper = /^[\w.~%!$&'()*+,;=:@[\]-]*$/.test(host ?? '') ? host : undefined
  return JSON.stringify([method, scheme, path, authority, proper, fields])
}

/** Methods, schemes, paths and names of servers that are not proper are answered and not broken off, so that their client hears why. */
function isJudgedLater(found: string): boolean {
  const [method, scheme, path, authority] = JSON.parse(found) as (string | null)[]
  return (
    !/^[\w-]+ [\w-]+$/.test(`${method} ${scheme}`) ||
    !/^[/*]/.test(path ?? '') ||
    !/^[\w.:-]+$/.test(authority ?? 'a')
  )
}

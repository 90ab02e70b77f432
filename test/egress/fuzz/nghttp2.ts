// How nghttp2, which Node's http2 is made of, reads field blocks: each as the head of a request of one connection.

import { constants, createServer, type ServerHttp2Stream } from 'node:http2'
import { Duplex } from 'node:stream'

export type ReadByNghttp2 = {
  /** The fields of the requests that were well-formed, by the place of their block. */
  requests: Map<number, string[]>
  isRefused: boolean
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const HEAD_BYTES = 9
const MAX_FRAME_BYTES = 16_384
const HEADERS = 1
const SETTINGS = 4
const PING = 6
const GOAWAY = 7
const CONTINUATION = 9
const END_STREAM = 1
const END_HEADERS = 4
/** Where a GOAWAY has its reason: behind the last stream's number. */
const REASON_AT = HEAD_BYTES + 4

export function createNghttp2Reader() {
  let requests = new Map<number, string[]>()
  const server = createServer()
  server.on('session', (session) => void session.on('error', () => undefined))
  server.on('sessionError', () => undefined)
  server.on('stream', (stream: ServerHttp2Stream, _headers: unknown, _flags: number, raw: string[]) => {
    requests.set(((stream.id ?? 0) - 1) / 2, raw)
    stream.on('error', () => undefined)
    stream.close()
  })
  return async (blocks: readonly Buffer[]): Promise<ReadByNghttp2> => {
    requests = new Map()
    const reason = await reasonToEnd((wire) => void server.emit('connection', wire), blocks)
    return { requests, isRefused: reason === constants.NGHTTP2_COMPRESSION_ERROR }
  }
}

/** Resolves with why the connection was ended; undefined when it is not. The answer to the PING at the end comes when all is read. */
function reasonToEnd(serve: (wire: Duplex) => void, blocks: readonly Buffer[]): Promise<number | undefined> {
  return new Promise((resolve) => {
    let answer: Buffer = Buffer.alloc(0)
    const finish = (reason?: number) => {
      wire.destroy()
      // What is closed is let go of only between two turns of the loop.
      setImmediate(() => resolve(reason))
    }
    const wire = new Duplex({
      read: () => undefined,
      write: (bytes: Buffer, _encoding, done) => {
        done()
        answer = Buffer.concat([answer, bytes])
        for (let length = frameLength(answer); length <= answer.length; length = frameLength(answer)) {
          if (answer[3] === GOAWAY) finish(answer.readUInt32BE(REASON_AT))
          if (answer[3] === PING) finish()
          answer = answer.subarray(length)
        }
      },
    })
    wire.on('error', () => undefined)
    wire.on('close', () => finish())
    serve(wire)
    const heads = blocks.flatMap((block, place) => framesOf(block, 2 * place + 1))
    wire.push(
      Buffer.concat([
        ...[PREFACE, frame(SETTINGS, 0, 0, Buffer.alloc(0)), ...heads],
        frame(PING, 0, 0, Buffer.alloc(8)),
      ]),
    )
  })
}

function framesOf(block: Buffer, stream: number): Buffer[] {
  const frames: Buffer[] = []
  for (let at = 0; at === 0 || at < block.length; at += MAX_FRAME_BYTES) {
    const flags = at + MAX_FRAME_BYTES >= block.length ? END_HEADERS : 0
    const body = block.subarray(at, at + MAX_FRAME_BYTES)
    frames.push(
      at === 0 ? frame(HEADERS, flags | END_STREAM, stream, body) : frame(CONTINUATION, flags, stream, body),
    )
  }
  return frames
}

function frame(type: number, flags: number, stream: number, body: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUIntBE(body.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, body])
}

/** Of the first frame; endless while not even its head is there. */
function frameLength(bytes: Buffer): number {
  return bytes.length < HEAD_BYTES ? Number.POSITIVE_INFINITY : HEAD_BYTES + bytes.readUIntBE(0, 3)
}

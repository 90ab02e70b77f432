// How nghttp2, which Node's http2 is made of, reads field blocks: each as the head of a request of one connection.

import { createServer, type ServerHttp2Stream } from 'node:http2'
import { Duplex } from 'node:stream'
import { CODE, FLAG, FRAME, HEAD_BYTES, MAX_FRAME_BYTES } from '../../../egress/http2/frames.ts'
import { frame, PREFACE } from '../../support/http2-frames.ts'

export type ReadByNghttp2 = {
  /** The fields of the requests that were well-formed, by the place of their block. */
  requests: Map<number, string[]>
  isRefused: boolean
}

/** Where a GOAWAY has its reason: behind the last stream's number. */
const REASON_AT = HEAD_BYTES + 4
const PING_BYTES = 8

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
    return { requests, isRefused: reason === CODE.compression }
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
          if (answer[3] === FRAME.goaway) finish(answer.readUInt32BE(REASON_AT))
          if (answer[3] === FRAME.ping) finish()
          answer = answer.subarray(length)
        }
      },
    })
    wire.on('error', () => undefined)
    wire.on('close', () => finish())
    serve(wire)
    const heads = blocks.flatMap((block, place) => framesOf(block, 2 * place + 1))
    wire.push(Buffer.concat([PREFACE, ...heads, frame(FRAME.ping, 0, 0, Buffer.alloc(PING_BYTES))]))
  })
}

function framesOf(block: Buffer, stream: number): Buffer[] {
  const frames: Buffer[] = []
  for (let at = 0; at === 0 || at < block.length; at += MAX_FRAME_BYTES) {
    const flags = at + MAX_FRAME_BYTES >= block.length ? FLAG.endHeaders : 0
    const body = block.subarray(at, at + MAX_FRAME_BYTES)
    frames.push(
      at === 0
        ? frame(FRAME.headers, flags | FLAG.endStream, stream, body)
        : frame(FRAME.continuation, flags, stream, body),
    )
  }
  return frames
}

/** Of the first frame; endless while not even its head is there. */
function frameLength(bytes: Buffer): number {
  return bytes.length < HEAD_BYTES ? Number.POSITIVE_INFINITY : HEAD_BYTES + bytes.readUIntBE(0, 3)
}

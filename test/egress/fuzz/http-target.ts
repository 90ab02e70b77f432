// Requests of HTTP/1, read beside llhttp: every request that llhttp finds in what egress has let pass must have a Host that egress was
// asked about. However they are cut into pieces, the same passes.

import { createServer, type Server } from 'node:http'
import { Duplex } from 'node:stream'
import { HttpRequests } from '../../../egress/connections/http-requests.ts'
import { REFUSED_REQUESTS, UNDERSTOOD_REQUESTS } from '../../gateway/strict/corpus.ts'
import type { Random } from '../../gateway/strict/mutate.ts'
import { mutateBytes } from './mutate.ts'
import { type FuzzTarget, hex, unhex } from './target.ts'

const EVIL = 'GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n'
const SEEDS = [...REFUSED_REQUESTS, ...UNDERSTOOD_REQUESTS]
  .map(({ bytes }) =>
    bytes.replaceAll('a-8000.localhost', 'good.example').replace(/GET \/smuggled[\s\S]*/, EVIL),
  )
  .filter((bytes) => bytes.length < 2000)
  .map((bytes) => Buffer.from(bytes, 'latin1'))
const WORDS = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\r\n\r\n',
    '\0',
    ' ',
    '\t',
    ':',
    ',',
    ';',
    'Host: evil.test\r\n',
    'Host: good.example\r\n',
    EVIL,
  ],
  ...[
    'Transfer-Encoding: chunked\r\n',
    'Content-Length: 5\r\n',
    'Content-Length: 0\r\n',
    '0\r\n\r\n',
    '5\r\nhello\r\n',
  ],
  ...[
    'Upgrade: websocket\r\nConnection: upgrade\r\n',
    'Expect: 100-continue\r\n',
    ' HTTP/1.0',
    'CONNECT ',
    'http://evil.test',
  ],
].map((text) => Buffer.from(text, 'latin1'))

export function createHttpTarget(): FuzzTarget {
  let hosts: (string | undefined)[] = []
  const server = createServer((request, response) => {
    hosts.push(request.headers.host)
    request.resume()
    request.on('error', () => undefined)
    response.on('error', () => undefined)
    response.end()
  })
  server.on('upgrade', (request, socket) => {
    hosts.push(request.headers.host)
    socket.destroy()
  })
  server.on('connect', (request, socket) => {
    hosts.push(`CONNECT ${request.url}`)
    socket.destroy()
  })
  server.on('clientError', (_error, socket) => void socket.destroy())
  const readByLlhttp = async (bytes: Buffer) => {
    hosts = []
    await feed(server, bytes)
    return hosts
  }
  return {
    make: (random: Random) => hex(mutateBytes({ seeds: SEEDS, words: WORDS }, random)),
    check: async (made) => {
      const bytes = unhex(made)
      const whole = judge([bytes])
      const cut = judge([...bytes].map((byte) => Buffer.from([byte])))
      // In one piece it may see later bytes as a problem before it hands on what came first.
      if (hex(cut.passed) !== hex(whole.passed) && whole.problem === undefined)
        return 'byte by byte something else passes'
      const found = await readByLlhttp(whole.passed)
      const wrong = found.find(
        (host) => host === undefined || !whole.asked.includes(host.replace(/:\d*$/, '')),
      )
      return found.length > 0 && (wrong !== undefined || found.includes(undefined))
        ? `llhttp finds a request for ${JSON.stringify(wrong)}, and egress was asked about ${JSON.stringify(whole.asked)}`
        : undefined
    },
    close: () => void server.close(),
    corpus: SEEDS.map(hex),
  }
}

function judge(pieces: Buffer[]): { passed: Buffer; asked: string[]; problem?: string } {
  const asked: string[] = []
  const requests = new HttpRequests((name) => {
    asked.push(name)
    return /^good\.example$/i.test(name) ? undefined : 'another name'
  })
  const passed: Buffer[] = []
  for (const piece of pieces) {
    const { pass, problem } = requests.push(piece)
    passed.push(...pass)
    if (problem !== undefined) return { passed: Buffer.concat(passed), asked, problem }
    if (requests.isSwitching) break
  }
  return { passed: Buffer.concat(passed), asked }
}

/** Resolves when the server has read everything, or has given up. */
function feed(server: Server, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = new Duplex({
      read: () => undefined,
      write: (_chunk, _encoding, done) => done(),
      allowHalfOpen: false,
    })
    socket.on('close', resolve)
    socket.on('error', () => undefined)
    server.emit('connection', socket)
    socket.push(bytes)
    socket.push(null)
  })
}

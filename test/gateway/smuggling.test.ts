// Requests that one reader takes for one and another for two. Each is sent whole, together with a request that must never
// reach the sandbox: either the first is refused and the connection ends, or both are seen as they are.

import { describe, expect, test } from 'vitest'
import { exchange, head, startAnswering, startGateway } from './support.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const EVIL = 'GET /smuggled HTTP/1.1\r\nHost: a-8000.localhost\r\n\r\n'

const refused: [string, string][] = [
  ['CL.TE', `${head('POST /', 'Content-Length: 6', 'Transfer-Encoding: chunked')}0\r\n\r\n${EVIL}`],
  ['TE.CL', `${head('POST /', 'Transfer-Encoding: chunked', 'Content-Length: 4')}5c\r\n${EVIL}\r\n0\r\n\r\n`],
  ['CL.CL', `${head('POST /', 'Content-Length: 0', `Content-Length: ${EVIL.length}`)}${EVIL}`],
  ['CL list', `${head('POST /', 'Content-Length: 0, 44')}${EVIL}`],
  ['CL with plus', `${head('POST /', 'Content-Length: +0')}${EVIL}`],
  ['CL in hexadecimal', `${head('POST /', 'Content-Length: 0x2c')}${EVIL}`],
  ['TE with a space before the colon', `${head('POST /', 'Transfer-Encoding : chunked')}0\r\n\r\n${EVIL}`],
  ['TE folded', `${head('POST /', 'Transfer-Encoding:', ' chunked')}0\r\n\r\n${EVIL}`],
  ['TE after a bare CR', `${head('POST /', 'X: y\rTransfer-Encoding: chunked')}0\r\n\r\n${EVIL}`],
  ['TE after a bare LF', `${head('POST /', 'X: y\nTransfer-Encoding: chunked')}0\r\n\r\n${EVIL}`],
  ['TE with a vertical tab', `${head('POST /', 'Transfer-Encoding: \x0bchunked')}0\r\n\r\n${EVIL}`],
  ['TE quoted', `${head('POST /', 'Transfer-Encoding: "chunked"')}0\r\n\r\n${EVIL}`],
  ['TE identity', `${head('POST /', 'Transfer-Encoding: identity')}${EVIL}`],
  ['TE twice', `${head('POST /', 'Transfer-Encoding: x', 'Transfer-Encoding: chunked')}0\r\n\r\n${EVIL}`],
  [
    'TE in HTTP/1.0',
    `POST / HTTP/1.0\r\nHost: a-8000.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${EVIL}`,
  ],
  ['a NUL in a name', `${head('POST /', 'Transfer\0-Encoding: chunked')}0\r\n\r\n${EVIL}`],
  ['a byte above 127 in a name', `${head('POST /', 'Transfer-Encodin\xe7: chunked')}0\r\n\r\n${EVIL}`],
  ['a target with a line end', `GET / HTTP/1.1\r\n\r\n${EVIL}`],
  ['a target with a space', `GET / x HTTP/1.1\r\nHost: a-8000.localhost\r\n\r\n${EVIL}`],
  ['a chunk size with a sign', `${head('POST /', 'Transfer-Encoding: chunked')}+0\r\n\r\n${EVIL}`],
  ['a chunk size with a space', `${head('POST /', 'Transfer-Encoding: chunked')}0 \r\n\r\n${EVIL}`],
  ['a chunk size ended by LF', `${head('POST /', 'Transfer-Encoding: chunked')}0\n\r\n${EVIL}`],
  [
    'a chunk size that overflows',
    `${head('POST /', 'Transfer-Encoding: chunked')}10000000000000000\r\n${EVIL}`,
  ],
  ['an LF in a chunk extension', `${head('POST /', 'Transfer-Encoding: chunked')}2;\nxx\r\n${EVIL}`],
  ['a chunk not ended', `${head('POST /', 'Transfer-Encoding: chunked')}1\r\naX\r\n0\r\n\r\n${EVIL}`],
  [
    'a trailer that is a head',
    `${head('POST /', 'Transfer-Encoding: chunked')}0\r\nGET / HTTP/1.1\r\n\r\n${EVIL}`,
  ],
  ['bytes after TLS greeting', `\x16\x03\x01${EVIL}`],
  ['a lone CR before the method', `\rGET / HTTP/1.1\r\nHost: a-8000.localhost\r\n\r\n${EVIL}`],
]

describe('is refused, and nothing after it is read:', () => {
  test.each(refused)('%s', async (_name, bytes) => {
    const gateway = await startGateway()
    const seen: string[] = []
    const upstream = await startAnswering((text) => {
      seen.push(text)
      return OK
    })
    gateway.routes.put('a', upstream.port)
    const text = await exchange(gateway.port, bytes)
    expect(text).toMatch(/^HTTP\/1\.1 4\d\d [\s\S]*"code":"[^"]+"/)
    expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1)
    expect(text).toMatch(/Connection: close\r\n/)
    expect(text).toMatch(/X-Request-ID: [0-9a-f]{32}\r\n/)
    expect(seen).toEqual([])
  })
})

describe('is understood in the one right way:', () => {
  const body = EVIL
  const table: [string, string][] = [
    ['a request as the body of a length', `${head('POST /', `Content-Length: ${body.length}`)}${body}`],
    [
      'a request as a chunk',
      `${head('POST /', 'Transfer-Encoding: chunked')}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ],
    [
      'a length that Connection names',
      `${head('POST /', 'Connection: content-length', `Content-Length: ${body.length}`)}${body}`,
    ],
    [
      'a coding that Connection names',
      `${head('POST /', 'Connection: transfer-encoding', 'Transfer-Encoding: chunked')}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ],
    [
      'an upgrade with a body',
      `${head('POST /', 'Connection: upgrade', 'Upgrade: h2c', `Content-Length: ${body.length}`)}${body}`,
    ],
  ]

  test.each(table)('%s', async (_name, bytes) => {
    const gateway = await startGateway()
    const raw: string[] = []
    const upstream = await startAnswering(OK)
    upstream.server.on('connection', (socket) => socket.on('data', (chunk) => raw.push(String(chunk))))
    gateway.routes.put('a', upstream.port)
    const text = await exchange(gateway.port, `${bytes}${head('GET /last', 'Connection: close')}`)
    expect(text.endsWith('ok')).toBe(true)
    const sent = raw.join('')
    expect(sent).toMatch(/^POST \/ HTTP\/1\.1\r\n/)
    // Its framing stands before its body, so the sandbox reads it as a body too.
    expect(sent.indexOf('/smuggled')).toBeGreaterThan(
      sent.search(/(Content-Length: \d+|Transfer-Encoding: chunked)\r\n/),
    )
    expect(sent).not.toMatch(/h2c/)
  })
})

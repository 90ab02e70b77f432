import { describe, expect, test } from 'vitest'
import {
  formatRequestHeaders,
  formatResponseHeaders,
  formatTrailers,
  hasBody,
} from '../../../execd/proxy/headers.ts'

const TOLD = ['Host', '127.0.0.1:3000']
const FORWARDED = ['X-Forwarded-For', '10.0.0.9', 'X-Forwarded-Proto', 'http']

function format(raw: string[], more: { method?: string; isOwn?: boolean; upgrade?: string } = {}): string[] {
  return formatRequestHeaders({ raw, method: 'GET', peer: '10.0.0.9', port: 3000, isOwn: false, ...more })
}

describe('formatRequestHeaders()', () => {
  test.each<[what: string, raw: string[], headers: string[]]>([
    [
      'keeps spelling, order and repetition',
      ['aB', '1', 'Cookie', 'x', 'ab', '2'],
      ['aB', '1', 'Cookie', 'x', 'ab', '2'],
    ],
    [
      'drops what is about one connection, and what Connection names',
      [
        'Connection',
        'keep-alive, X-Secret',
        'Keep-Alive',
        'timeout=5',
        'X-Secret',
        '1',
        'Proxy-Authorization',
        'x',
        'Upgrade',
        'h2c',
        'HTTP2-Settings',
        'x',
        'X-Kept',
        '1',
      ],
      ['X-Kept', '1'],
    ],
    [
      'lets Connection take away nothing that decides how a message is read',
      ['Connection', 'content-type, content-length, host', 'Content-Type', 'a/b', 'Content-Length', '3'],
      ['Content-Type', 'a/b', 'Content-Length', '3'],
    ],
    ['drops the token', ['X-EXECD-ACCESS-TOKEN', 't', 'x-execd-access-token', 'u'], []],
    ['drops what a client says of its way', ['X-Forwarded-Host', 'a', 'Forwarded', 'for=a', 'Host', 'b'], []],
    ['has already asked for the body', ['Expect', '100-continue'], []],
  ])('%s', (_what, raw, headers) => {
    expect(format(raw)).toEqual([...TOLD, ...headers, ...FORWARDED])
  })

  test('X5: only execd itself gets the token', () => {
    const raw = ['X-EXECD-ACCESS-TOKEN', 't']
    expect(format(raw, { isOwn: true })).toEqual([...TOLD, ...raw, ...FORWARDED])
    expect(format(raw)).toEqual([...TOLD, ...FORWARDED])
  })

  test.each([
    [[], '10.0.0.9'],
    [['X-Forwarded-For', '1.1.1.1, 2.2.2.2'], '1.1.1.1, 10.0.0.9'],
    [['X-Real-IP', '3.3.3.3'], '3.3.3.3, 10.0.0.9'],
    [['X-Real-IP', '3.3.3.3', 'x-forwarded-for', '1.1.1.1'], '1.1.1.1, 10.0.0.9'],
    [['X-Forwarded-For', ''], '10.0.0.9'],
  ])('says who asked, from %j: %j', (raw, expected) => {
    const headers = format(raw)
    expect(headers[headers.indexOf('X-Forwarded-For') + 1]).toBe(expected)
  })

  test.each<[method: string, raw: string[], end: string[]]>([
    ['POST', [], ['Content-Length', '0']],
    ['PURGE', [], ['Content-Length', '0']],
    ['GET', [], []],
    ['DELETE', [], []],
    ['POST', ['Transfer-Encoding', 'chunked'], ['Transfer-Encoding', 'chunked']],
    ['GET', ['transfer-encoding', 'chunked'], ['Transfer-Encoding', 'chunked']],
    ['GET', ['TE', 'trailers'], ['TE', 'trailers']],
    ['GET', ['TE', 'gzip;q=0.5, trailers'], ['TE', 'trailers']],
    ['GET', ['TE', 'gzip'], []],
  ])('frames the body of %s %j with %j', (method, raw, end) => {
    expect(format(raw, { method })).toEqual([...TOLD, ...FORWARDED, ...end])
  })

  test('asks for another protocol only when the client has', () => {
    const raw = ['Connection', 'Upgrade', 'Upgrade', 'websocket', 'Sec-WebSocket-Key', 'k']
    expect(format(raw, { upgrade: 'websocket' })).toEqual([
      ...TOLD,
      'Sec-WebSocket-Key',
      'k',
      ...FORWARDED,
      'Connection',
      'Upgrade',
      'Upgrade',
      'websocket',
    ])
    expect(format(raw)).toEqual([...TOLD, 'Sec-WebSocket-Key', 'k', ...FORWARDED])
  })
})

test('formatResponseHeaders() keeps every cookie and drops what is about one connection', () => {
  expect(
    formatResponseHeaders(
      [
        'Set-Cookie',
        'a=1',
        'Set-Cookie',
        'b=2',
        'Connection',
        'close, X-Inner',
        'X-Inner',
        '1',
        'Transfer-Encoding',
        'chunked',
        'Content-Length',
        '3',
        'Keep-Alive',
        'timeout=1',
      ],
      200,
    ),
  ).toEqual(['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Content-Length', '3'])
})

test.each([
  [100, ['A', 'b']],
  [101, ['A', 'b']],
  [200, ['Content-Length', '3', 'A', 'b']],
  [204, ['A', 'b']],
  [205, ['Content-Length', '3', 'A', 'b']],
  [304, ['Content-Length', '3', 'A', 'b']],
])('formatResponseHeaders() of %i says %j', (status, expected) => {
  expect(formatResponseHeaders(['Content-Length', '3', 'A', 'b'], status)).toEqual(expected)
})

test('formatTrailers() lets nothing be said again that the head decides', () => {
  expect(
    formatTrailers([
      'X-Sum',
      '1',
      'Content-Length',
      '2',
      'X-EXECD-ACCESS-TOKEN',
      't',
      'Host',
      'a',
      'Set-Cookie',
      'b',
    ]),
  ).toEqual([['X-Sum', '1']])
})

test.each([
  [[], false],
  [['Content-Length', '0'], false],
  [['content-length', '5'], true],
  [['Transfer-Encoding', 'chunked'], true],
])('hasBody(%j) is %s', (raw, expected) => {
  expect(hasBody(raw)).toBe(expected)
})

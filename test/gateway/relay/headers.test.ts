import { describe, expect, test } from 'vitest'
import { parseRequestHead, parseResponseHead } from '../../../gateway/http1/head.ts'
import {
  formatRequestHead,
  formatResponseHead,
  formatUpgradeHead,
  isRepeatable,
  mayBeTrailer,
  type Passage,
} from '../../../gateway/relay/headers.ts'
import { rewriteLocation } from '../../../lib/forwarding.ts'

const PASSAGE: Passage = {
  to: 'sandbox',
  target: '/x',
  host: '10.0.0.2:80',
  prefix: '',
  client: { address: '192.0.2.1', isEncrypted: false, forwardedFor: '192.0.2.1' },
  dropCredentials: false,
}

function parse(lines: string[], method = 'GET') {
  const head = parseRequestHead([`${method} / HTTP/1.1`, 'Host: outer:8080', ...lines, '', ''].join('\r\n'))
  if ('problem' in head) throw new Error(head.problem)
  return head
}
const send = (lines: string[], passage: Partial<Passage> = {}, method = 'GET') =>
  formatRequestHead(parse(lines, method), { ...PASSAGE, ...passage }).split('\r\n')

function answer(lines: string[], status = 200, method = 'GET') {
  const head = parseResponseHead([`HTTP/1.1 ${status} X`, ...lines, '', ''].join('\r\n'), method)
  if ('problem' in head) throw new Error(head.problem)
  return head
}

describe('formatRequestHead()', () => {
  test('writes the target, the host and where the request came from', () => {
    expect(send(['X-A: b'])).toEqual([
      'GET /x HTTP/1.1',
      'Host: 10.0.0.2:80',
      'X-A: b',
      'X-Forwarded-For: 192.0.2.1',
      'X-Forwarded-Proto: http',
      'X-Forwarded-Host: outer:8080',
      '',
      '',
    ])
  })

  test.each([
    'Keep-Alive: timeout=5',
    'Proxy-Connection: keep-alive',
    'Proxy-Authorization: Basic x',
    'TE: gzip',
    'Trailer: X-Sum',
    'Upgrade: websocket',
    'HTTP2-Settings: AAA',
    'Forwarded: for=1.2.3.4',
    'X-Forwarded-For: 1.2.3.4',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Host: evil',
    'X-Forwarded-Port: 1',
    'x-forwarded-anything: 1',
    'X-Real-IP: 1.2.3.4',
    'OpenSandbox-Ingress-To: a-1',
    'OPEN-SANDBOX-INGRESS: a-1',
    'OPEN-SANDBOX-API-KEY: secret',
    'OpenSandbox-Secure-Access: secret',
    'OpenSandbox-Access-Renew: skip',
  ])('drops %s on the way to a sandbox', (line) => {
    const sent = send([line])
    expect(sent).not.toContain(line)
    expect(
      sent.filter((each) => each.toLowerCase().startsWith(line.split(':')[0]?.toLowerCase() ?? '')),
    ).toEqual(
      sent.filter(
        (each) =>
          /^X-Forwarded-(For: 192|Proto: http$|Host: outer)/.test(each) &&
          each.startsWith(line.split(':')[0] ?? ''),
      ),
    )
  })

  test.each([
    'X-EXECD-ACCESS-TOKEN: t',
    'OPENSANDBOX-EGRESS-AUTH: t',
    'Authorization: Bearer t',
    'Cookie: a=b',
    'User-Agent: x',
    'Accept-Encoding: gzip',
    'Origin: http://a',
    'Sec-WebSocket-Key: k',
  ])('passes %s', (line) => {
    expect(send([line])).toContain(line)
  })

  test('L12: credentials pass to a name of their own; the path form drops them, and says where the path begins', () => {
    const lines = ['Authorization: Bearer t', 'Cookie: a=b', 'X-EXECD-ACCESS-TOKEN: t']
    expect(send(lines)).toEqual(expect.arrayContaining(lines))
    const sent = send(lines, {
      dropCredentials: true,
      prefix: '/sandboxes/a/proxy/80',
    })
    expect(sent.join()).not.toMatch(/authorization|cookie/i)
    expect(sent).toContain('X-EXECD-ACCESS-TOKEN: t')
    expect(sent).toContain('X-Forwarded-Prefix: /sandboxes/a/proxy/80')
  })

  test('lets control see the API key, and no forged origin of the request', () => {
    const sent = send(['OPEN-SANDBOX-API-KEY: k', 'X-Forwarded-For: 1.2.3.4', 'Cookie: a'], { to: 'control' })
    expect(sent).toContain('OPEN-SANDBOX-API-KEY: k')
    expect(sent).toContain('Cookie: a')
    expect(sent.filter((line) => line.startsWith('X-Forwarded-For'))).toEqual(['X-Forwarded-For: 192.0.2.1'])
  })

  test('drops what Connection names, but never what routes or frames', () => {
    const sent = send(
      ['Connection: close, X-Hop, host, content-length', 'X-Hop: 1', 'X-Keep: 2', 'Content-Length: 3'],
      {},
      'POST',
    )
    expect(sent).not.toContain('X-Hop: 1')
    expect(sent).toContain('X-Keep: 2')
    expect(sent).toContain('Host: 10.0.0.2:80')
    expect(sent).toContain('Content-Length: 3')
    expect(sent.join()).not.toMatch(/Connection/)
  })

  test('says once how the body is framed', () => {
    expect(send(['Transfer-Encoding: CHUNKED'], {}, 'POST')).toContain('Transfer-Encoding: chunked')
    expect(send(['Content-Length: 007'], {}, 'POST')).toContain('Content-Length: 7')
    expect(send(['Expect: 100-continue', 'Content-Length: 1'], {}, 'PUT')).toContain('Expect: 100-continue')
  })

  test('passes the wish for trailers and for an upgrade as its own', () => {
    expect(send(['TE: trailers, deflate;q=0.5'])).toContain('TE: trailers')
    const sent = send(['Connection: keep-alive, Upgrade', 'Upgrade: websocket'])
    expect(sent).toContain('Connection: Upgrade')
    expect(sent).toContain('Upgrade: websocket')
  })
})

describe('formatResponseHead()', () => {
  const plain = { extra: '', close: false, minor: 1 as const }

  test('passes fields, repeated ones too, and drops those of the connection', () => {
    const head = answer([
      'Set-Cookie: a=1',
      'Set-Cookie: b=2',
      'Connection: keep-alive, X-Hop',
      'Keep-Alive: timeout=5',
      'X-Hop: 1',
      'Upgrade: h2c',
      'Content-Length: 2',
      'Content-Encoding: gzip',
    ])
    expect(formatResponseHead(head, head.framing, plain).split('\r\n')).toEqual([
      'HTTP/1.1 200 X',
      'Set-Cookie: a=1',
      'Set-Cookie: b=2',
      'Content-Encoding: gzip',
      'Content-Length: 2',
      '',
      '',
    ])
  })

  test('keeps the length of what a HEAD or a 304 only tells of', () => {
    for (const head of [answer(['Content-Length: 9'], 200, 'HEAD'), answer(['Content-Length: 9'], 304)])
      expect(formatResponseHead(head, head.framing, plain)).toContain('Content-Length: 9\r\n')
    const none = answer(['Content-Length: 9'], 204)
    expect(formatResponseHead(none, none.framing, plain)).not.toContain('Content-Length')
  })

  test('says whether the connection ends, to each version in its way', () => {
    const head = answer(['Content-Length: 0'])
    expect(formatResponseHead(head, head.framing, { ...plain, close: true })).toContain('Connection: close')
    expect(formatResponseHead(head, head.framing, { ...plain, minor: 0 })).toContain('Connection: keep-alive')
  })

  test('says by path nothing that is about the origin, and keeps cookies to that path', () => {
    const prefix = '/sandboxes/a/proxy/80'
    const location = { inner: '10.0.0.2:80', outer: 'localhost:8080', prefix, isEncrypted: false }
    const lines = ['Service-Worker-Allowed: /', 'Set-Cookie: a=1; Path=/', 'Set-Cookie: b=2', 'X-App: 1']
    const head = answer(['Content-Length: 0', ...lines])
    const confined = [`a=1; Path=${prefix}/`, `b=2; Path=${prefix}/`].map((cookie) => `Set-Cookie: ${cookie}`)
    const byPath = formatResponseHead(head, head.framing, { ...plain, location }).split('\r\n')
    expect(byPath.slice(1, -2)).toEqual([...confined, 'X-App: 1', 'Content-Length: 0'])
    // By a header the sandbox has no origin of a browser at all.
    const byHeader = formatResponseHead(head, head.framing, {
      ...plain,
      location: { ...location, prefix: '' },
    })
    for (const line of lines) expect(byHeader).toContain(`${line}\r\n`)
    const upgrade = answer(['Upgrade: websocket', 'Connection: Upgrade', ...lines], 101)
    expect(formatUpgradeHead(upgrade, prefix).split('\r\n').slice(1, 4)).toEqual([...confined, 'X-App: 1'])
  })

  test('keeps an upgrade’s fields', () => {
    const head = answer(['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Accept: x'], 101)
    expect(formatUpgradeHead(head).split('\r\n')).toEqual([
      'HTTP/1.1 101 X',
      'Sec-WebSocket-Accept: x',
      'Connection: Upgrade',
      'Upgrade: websocket',
      '',
      '',
    ])
  })
})

describe('rewriteLocation()', () => {
  const path = {
    inner: '10.0.0.2:80',
    outer: 'localhost:8080',
    prefix: '/sandboxes/a/proxy/80',
    isEncrypted: false,
  }
  test.each([
    ['/login', '/sandboxes/a/proxy/80/login'],
    ['/', '/sandboxes/a/proxy/80/'],
    ['login', 'login'],
    ['?a=b', '?a=b'],
    ['//other/x', '//other/x'],
    ['/\\other', '/\\other'],
    ['https://other/x', 'https://other/x'],
    ['http://10.0.0.2:80/x', 'http://localhost:8080/sandboxes/a/proxy/80/x'],
    ['http://10.0.0.2:80', 'http://localhost:8080/sandboxes/a/proxy/80/'],
    ['http://10.0.0.2:80?x', 'http://localhost:8080/sandboxes/a/proxy/80/?x'],
    ['http://10.0.0.2:8000/x', 'http://10.0.0.2:8000/x'],
    ['', ''],
  ])('makes of %j by path %j', (value, rewritten) => {
    expect(rewriteLocation(value, path)).toBe(rewritten)
  })

  test('by header only puts the outer host in', () => {
    const header = { ...path, prefix: '' }
    expect(rewriteLocation('/login', header)).toBe('/login')
    expect(rewriteLocation('http://10.0.0.2:80/x', header)).toBe('http://localhost:8080/x')
    expect(rewriteLocation('http://10.0.0.2:80/x', { ...header, isEncrypted: true })).toBe(
      'https://localhost:8080/x',
    )
  })
})

test.each([
  'content-length',
  'transfer-encoding',
  'host',
  'connection',
  'authorization',
  'open-sandbox-api-key',
  'x-forwarded-for',
  'set-cookie',
  'opensandbox-ingress-to',
  'x-execd-access-token',
])('%s may not be a trailer', (key) => {
  expect(mayBeTrailer({ name: key, key, value: '' })).toBe(false)
})

test('only what changes nothing may be sent again', () => {
  expect(isRepeatable(parse([]))).toBe(true)
  expect(isRepeatable(parse([], 'HEAD'))).toBe(true)
  expect(isRepeatable(parse([], 'DELETE'))).toBe(false)
  expect(isRepeatable(parse([], 'POST'))).toBe(false)
  expect(isRepeatable(parse(['Content-Length: 1']))).toBe(false)
  expect(mayBeTrailer({ name: 'X-Sum', key: 'x-sum', value: '' })).toBe(true)
})

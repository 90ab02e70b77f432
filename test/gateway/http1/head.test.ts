import { describe, expect, test } from 'vitest'
import {
  checkUnfinishedHead,
  findHeadEnd,
  MAX_HEAD_BYTES,
  MAX_TARGET_BYTES,
  parseRequestHead,
  parseResponseHead,
  type RequestHead,
  type ResponseHead,
} from '../../../gateway/http1/head.ts'
import { type HeadProblem, MAX_FIELDS } from '../../../lib/http1/fields.ts'

const request = (...lines: string[]) => parseRequestHead(`${lines.join('\r\n')}\r\n\r\n`)
const response = (...lines: string[]) => parseResponseHead(`${lines.join('\r\n')}\r\n\r\n`, 'GET')

function accepted<T extends RequestHead | ResponseHead>(head: T | HeadProblem): T {
  if ('problem' in head) throw new Error(`Refused with ${head.status}: ${head.problem}`)
  return head
}
function refused(head: RequestHead | ResponseHead | HeadProblem): number {
  if (!('problem' in head)) throw new Error(`Accepted: ${JSON.stringify(head)}`)
  expect(head.problem).not.toBe('')
  return head.status
}

describe('parseRequestHead() reads', () => {
  test('a plain request', () => {
    const head = accepted(request('GET /a/b?c=1 HTTP/1.1', 'Host: a.example:80', 'X-A:  b c \t'))
    expect(head).toMatchObject({ method: 'GET', target: '/a/b?c=1', minor: 1, host: 'a.example:80' })
    expect(head.fields[1]).toEqual({ name: 'X-A', key: 'x-a', value: 'b c' })
    expect(head).toMatchObject({ framing: { kind: 'none' }, keepAlive: true, upgrade: undefined })
  })

  test.each([
    '/%2F%2e%2e/%zz',
    '//double//slash',
    '/../../etc',
    '/a;b=c?d=%00',
    '/?',
    '/a\\b',
    '/a|b{c}"<>^`',
    '/sn\xe4ps',
  ])('the raw target %s as it is', (target) => {
    expect(accepted(request(`GET ${target} HTTP/1.1`, 'Host: a')).target).toBe(target)
  })

  test.each([
    ['http://b.example/x?y', '/x?y', 'b.example'],
    ['http://b.example:81', '/', 'b.example:81'],
    ['HTTP://b.example?q', '/?q', 'b.example'],
    ['https://[::1]:8080/', '/', '[::1]:8080'],
  ])('the absolute target %s, whose host the field must name too', (target, path, host) => {
    const line = `GET ${target} HTTP/1.1`
    expect(accepted(request(line, `Host: ${host.toUpperCase()}`))).toMatchObject({ target: path, host })
    expect(refused(request(line, 'Host: other'))).toBe(400)
  })

  test.each(['session_id', 'X_Custom', '_', 'a_content-length'])('the field name %s', (name) => {
    expect(accepted(request('GET / HTTP/1.1', 'Host: a', `${name}: 1`)).fields[1]?.name).toBe(name)
  })

  test.each(['a', 'a:80', 'a.b-c_d.e:65535', 'A.B.', '127.0.0.1:1', '[::1]', '[::ffff:1.2.3.4]:80', 'a:'])(
    'the host %s',
    (host) => {
      expect(accepted(request('GET / HTTP/1.1', `Host: ${host}`)).host).toBe(host)
    },
  )

  test('OPTIONS of the whole server', () => {
    expect(accepted(request('OPTIONS * HTTP/1.1', 'Host: a')).target).toBe('*')
  })

  test('every token character in method and name, and bytes above 127 in a value', () => {
    const token = "!#$%&'*+-.^_`|~09AZaz"
    const head = accepted(request(`${token} / HTTP/1.1`, 'Host: a', `${token}: \x80\xff\t~`))
    expect(head.method).toBe(token)
    expect(head.fields[1]?.value).toBe('\x80\xff\t~')
  })

  test.each([
    [['Content-Length: 0'], { kind: 'length', length: 0 }],
    [['Content-Length: 9007199254740991'], { kind: 'length', length: 9007199254740991 }],
    [['Content-Length: 0042'], { kind: 'length', length: 42 }],
    [['Transfer-Encoding: Chunked'], { kind: 'chunked' }],
    [[], { kind: 'none' }],
  ])('the framing of %j', (lines, framing) => {
    expect(accepted(request('POST / HTTP/1.1', 'Host: a', ...lines)).framing).toEqual(framing)
  })

  test.each([
    ['HTTP/1.1', [], true],
    ['HTTP/1.1', ['Connection: close'], false],
    ['HTTP/1.1', ['Connection: keep-alive, Close'], false],
    ['HTTP/1.1', ['Connection: x', 'Connection: close'], false],
    ['HTTP/1.0', [], false],
    ['HTTP/1.0', ['Connection: Keep-Alive'], true],
    ['HTTP/1.0', ['Connection: keep-alive, close'], false],
  ])('whether %s %j stays open: %s', (version, lines, keepAlive) => {
    expect(accepted(request(`GET / ${version}`, 'Host: a', ...lines)).keepAlive).toBe(keepAlive)
  })

  test.each([
    [['Connection: Upgrade', 'Upgrade: websocket'], 'websocket'],
    [['Connection: keep-alive, upgrade', 'Upgrade: WebSocket'], 'WebSocket'],
    [['Upgrade: websocket'], undefined],
    [['Connection: upgrade'], undefined],
    [['Connection: upgrade', 'Upgrade: websocket', 'Content-Length: 1'], undefined],
    [['Connection: upgrade', 'Upgrade: websocket', 'Content-Length: 0'], 'websocket'],
    [['Connection: upgrade', 'Upgrade: websocket', 'Transfer-Encoding: chunked'], undefined],
  ])('of %j the upgrade %s', (lines, upgrade) => {
    expect(accepted(request('GET / HTTP/1.1', 'Host: a', ...lines)).upgrade).toBe(upgrade)
  })

  test('Expect, of HTTP/1.1 only', () => {
    expect(accepted(request('PUT / HTTP/1.1', 'Host: a', 'Expect: 100-Continue')).expectsContinue).toBe(true)
    expect(accepted(request('PUT / HTTP/1.0', 'Host: a', 'Expect: 100-continue')).expectsContinue).toBe(false)
  })

  test('as many fields as are allowed, and a target as long as is allowed', () => {
    const lines = Array.from({ length: MAX_FIELDS - 1 }, (_, at) => `X-${at}: ${at}`)
    expect(accepted(request('GET / HTTP/1.1', 'Host: a', ...lines)).fields).toHaveLength(MAX_FIELDS)
    const target = `/${'a'.repeat(MAX_TARGET_BYTES - 1)}`
    expect(accepted(request(`GET ${target} HTTP/1.1`, 'Host: a')).target).toBe(target)
  })
})

describe('parseRequestHead() refuses', () => {
  test.each([
    'Content_Length',
    'transfer_encoding',
    'X_Forwarded_For',
    'X-Forwarded_Proto',
    'X_Real_IP',
    'OpenSandbox_Ingress-To',
    'X-EXECD-ACCESS_TOKEN',
    'Proxy_Authorization',
  ])('%s, which some programs cannot tell from the name with hyphens', (name) => {
    expect(refused(request('GET / HTTP/1.1', 'Host: a', `${name}: 1`))).toBe(400)
  })

  const H = 'Host: a'
  const table: [string, number, string[]][] = [
    ['no method', 400, [' / HTTP/1.1', H]],
    ['no target', 400, ['GET  HTTP/1.1', H]],
    ['no version', 400, ['GET /', H]],
    ['a method with a space', 400, ['GE T / HTTP/1.1', H]],
    ['a method with a colon', 400, ['GE:T / HTTP/1.1', H]],
    ['two spaces before the target', 400, ['GET  / HTTP/1.1', H]],
    ['two spaces before the version', 400, ['GET /  HTTP/1.1', H]],
    ['a tab for a space', 400, ['GET\t/\tHTTP/1.1', H]],
    ['a space after the version', 400, ['GET / HTTP/1.1 ', H]],
    ['a version in lower case', 400, ['GET / http/1.1', H]],
    ['HTTP/1.11', 400, ['GET / HTTP/1.11', H]],
    ['HTTP/0.9', 505, ['GET / HTTP/0.9', H]],
    ['HTTP/1.2', 505, ['GET / HTTP/1.2', H]],
    ['HTTP/2.0', 505, ['PRI * HTTP/2.0']],
    ['HTTP/3.0', 505, ['GET / HTTP/3.0', H]],
    ['a target with a NUL', 400, ['GET /\0 HTTP/1.1', H]],
    ['a target with a DEL', 400, ['GET /\x7f HTTP/1.1', H]],
    ['a target with a control character', 400, ['GET /a\x01b HTTP/1.1', H]],
    ['a target with a fragment', 400, ['GET /a#b HTTP/1.1', H]],
    ['a target without its slash', 400, ['GET a HTTP/1.1', H]],
    ['a star for GET', 400, ['GET * HTTP/1.1', H]],
    ['another scheme', 400, ['GET ftp://a/ HTTP/1.1', H]],
    ['an absolute target with a user', 400, ['GET http://u@a/ HTTP/1.1', H]],
    ['an absolute target without host', 400, ['GET http:/// HTTP/1.1', H]],
    ['CONNECT', 405, ['CONNECT a:443 HTTP/1.1', H]],
    ['no host', 400, ['GET / HTTP/1.1']],
    ['no host in HTTP/1.0', 400, ['GET / HTTP/1.0']],
    ['an empty host', 400, ['GET / HTTP/1.1', 'Host:']],
    ['two hosts', 400, ['GET / HTTP/1.1', H, 'Host: b']],
    ['the same host twice', 400, ['GET / HTTP/1.1', H, H]],
    ['a host with a user', 400, ['GET / HTTP/1.1', 'Host: a@b']],
    ['a host with a path', 400, ['GET / HTTP/1.1', 'Host: a/b']],
    ['a host list', 400, ['GET / HTTP/1.1', 'Host: a, b']],
    ['a host with a space', 400, ['GET / HTTP/1.1', 'Host: a b']],
    ['a host with a port of six digits', 400, ['GET / HTTP/1.1', 'Host: a:123456']],
    ['a host with a port of letters', 400, ['GET / HTTP/1.1', 'Host: a:b']],
    ['an open bracket', 400, ['GET / HTTP/1.1', 'Host: [::1']],
    ['an address without brackets', 400, ['GET / HTTP/1.1', 'Host: ::1']],
    ['a space before the colon', 400, ['GET / HTTP/1.1', H, 'X-A : b']],
    ['a tab before the colon', 400, ['GET / HTTP/1.1', H, 'X-A\t: b']],
    ['a folded line', 400, ['GET / HTTP/1.1', H, 'X-A: b', ' c']],
    ['a folded line with a tab', 400, ['GET / HTTP/1.1', H, 'X-A: b', '\tc']],
    ['a first field that begins with a space', 400, ['GET / HTTP/1.1', ' Host: a']],
    ['an empty name', 400, ['GET / HTTP/1.1', H, ': b']],
    ['a line without colon', 400, ['GET / HTTP/1.1', H, 'X-A']],
    ...[...'(),/:;<=>?@[\\]{} "\x7f\x80\xe4'].map((char): [string, number, string[]] => [
      `the character ${JSON.stringify(char)} in a name`,
      char === ':' ? 0 : 400,
      ['GET / HTTP/1.1', H, `X${char}A: b`],
    ]),
    ...[...Array(32).keys()]
      .filter((code) => code !== 9 && code !== 13 && code !== 10)
      .map((code): [string, number, string[]] => [
        `the byte ${code} in a value`,
        400,
        ['GET / HTTP/1.1', H, `X-A: b${String.fromCharCode(code)}c`],
      ]),
    ['a DEL in a value', 400, ['GET / HTTP/1.1', H, 'X-A: b\x7f']],
    ['a bare CR in a value', 400, ['GET / HTTP/1.1', H, 'X-A: b\rc']],
    ['a bare LF in a value', 400, ['GET / HTTP/1.1', H, 'X-A: b\nX-B: c']],
    ['two lengths', 400, ['POST / HTTP/1.1', H, 'Content-Length: 1', 'Content-Length: 2']],
    ['the same length twice', 400, ['POST / HTTP/1.1', H, 'Content-Length: 1', 'Content-Length: 1']],
    ...['+1', '-1', '1, 1', '1 1', '0x1', '1.0', '1e3', '', 'a', '١', '9007199254740993', '1'.repeat(17)].map(
      (value): [string, number, string[]] => [
        `the length ${JSON.stringify(value)}`,
        400,
        ['POST / HTTP/1.1', H, `Content-Length: ${value}`],
      ],
    ),
    ['length and chunked', 400, ['POST / HTTP/1.1', H, 'Content-Length: 1', 'Transfer-Encoding: chunked']],
    ['chunked and length', 400, ['POST / HTTP/1.1', H, 'Transfer-Encoding: chunked', 'Content-Length: 0']],
    ...[
      'xchunked',
      'gzip, chunked',
      'chunked, gzip',
      'chunked, chunked',
      'identity',
      'chunked;q=1',
      'chunked ,',
      ',chunked',
      '"chunked"',
      '',
    ].map((value): [string, number, string[]] => [
      `the coding ${JSON.stringify(value)}`,
      400,
      ['POST / HTTP/1.1', H, `Transfer-Encoding: ${value}`],
    ]),
    ['two codings', 400, ['POST / HTTP/1.1', H, 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity']],
    ['a coding in HTTP/1.0', 400, ['POST / HTTP/1.0', H, 'Transfer-Encoding: chunked']],
    ['another expectation', 417, ['PUT / HTTP/1.1', H, 'Expect: 200-ok']],
    [
      'too many fields',
      431,
      ['GET / HTTP/1.1', H, ...Array.from({ length: MAX_FIELDS }, (_, at) => `X-${at}: a`)],
    ],
    ['too large a head', 431, ['GET / HTTP/1.1', H, `X-A: ${'a'.repeat(MAX_HEAD_BYTES)}`]],
    ['too long a target', 414, [`GET /${'a'.repeat(MAX_TARGET_BYTES)} HTTP/1.1`, H]],
  ]

  test.each(table.filter(([, status]) => status !== 0))('%s with %i', (_name, status, lines) => {
    expect(refused(request(...lines))).toBe(status)
  })

  test('what stands behind the empty line', () => {
    expect(refused(parseRequestHead('GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n'))).toBe(400)
  })

  test('a head that was cut off anywhere', () => {
    const whole = 'GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n'
    for (let length = 0; length < whole.length; length++)
      expect(refused(parseRequestHead(whole.slice(0, length)))).toBe(400)
  })
})

describe('parseResponseHead()', () => {
  test.each([
    ['HTTP/1.1 200 OK', 200, 'OK'],
    ['HTTP/1.1 200 ', 200, ''],
    ['HTTP/1.1 599 sehr s\xfc\xdf', 599, 'sehr s\xfc\xdf'],
    ['HTTP/1.0 301 Moved', 301, 'Moved'],
    ['HTTP/1.1 204', 204, ''],
  ])('reads %s', (line, status, reason) => {
    expect(accepted(response(line))).toMatchObject({ status, reason })
  })

  test.each([
    'HTTP/2 200 OK',
    'HTTP/1.1  200 OK',
    'HTTP/1.1 20 OK',
    'HTTP/1.1 2000 OK',
    'HTTP/1.1 099 OK',
    'HTTP/1.1 600 OK',
    'HTTP/1.1 2x0 OK',
    'HTTP/1.1 200\tOK',
    'HTTP/1.1 200 O\0K',
    'http/1.1 200 OK',
    'ICY 200 OK',
    '<html>',
  ])('refuses %j', (line) => {
    expect(refused(response(line))).toBe(400)
  })

  test.each([
    ['200', 'GET', ['Content-Length: 5'], { kind: 'length', length: 5 }],
    ['200', 'GET', ['Transfer-Encoding: chunked'], { kind: 'chunked' }],
    ['200', 'GET', [], { kind: 'close' }],
    ['200', 'HEAD', ['Content-Length: 5'], { kind: 'none' }],
    ['200', 'HEAD', ['Transfer-Encoding: chunked'], { kind: 'none' }],
    ['204', 'GET', [], { kind: 'none' }],
    ['304', 'GET', ['Content-Length: 5'], { kind: 'none' }],
    ['103', 'GET', [], { kind: 'none' }],
  ])('frames %s of %s with %j', (status, method, lines, framing) => {
    const text = `HTTP/1.1 ${status} X\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`
    expect(accepted(parseResponseHead(text, method)).framing).toEqual(framing)
  })

  test.each([
    [['Content-Length: 1', 'Transfer-Encoding: chunked']],
    [['Content-Length: 1', 'Content-Length: 1']],
    [['Content-Length: -1']],
    [['Transfer-Encoding: gzip, chunked']],
    [['X-A: b', ' folded']],
    [['X A: b']],
    [['X-A: \0']],
  ])('refuses %j', (lines) => {
    expect(refused(response('HTTP/1.1 200 OK', ...lines))).toBe(400)
  })

  test('refuses a coding in HTTP/1.0', () => {
    expect(refused(response('HTTP/1.0 200 OK', 'Transfer-Encoding: chunked'))).toBe(400)
  })
})

describe('an unfinished head', () => {
  test.each([
    ['a bare LF', 'GET / HTTP/1.1\nHost: a\n\n', 400],
    ['an LF as the first byte', '\n', 400],
    ['a TLS greeting', '\x16\x03\x01', 400],
    ['a space first', ' GET', 400],
    ['a NUL first', '\0', 400],
    ['too many bytes', `GET /${'a'.repeat(MAX_HEAD_BYTES)}`, 431],
  ])('is refused early for %s', (_name, text, status) => {
    expect(checkUnfinishedHead(Buffer.from(text, 'latin1'), 0)?.status).toBe(status)
  })

  test.each(['', 'G', 'GET / HTTP/1.1\r\nHost: a\r\n', 'GET / HTTP/1.1\r', '\r'])('%j may go on', (text) => {
    expect(checkUnfinishedHead(Buffer.from(text, 'latin1'), 0)).toBeUndefined()
  })

  test('is found to be finished at its empty line', () => {
    const bytes = Buffer.from('GET / HTTP/1.1\r\n\r\nrest')
    expect(findHeadEnd(bytes, 0)).toBe(18)
    expect(findHeadEnd(bytes.subarray(0, 17), 0)).toBe(-1)
    expect(findHeadEnd(bytes, 18)).toBe(-1)
  })
})

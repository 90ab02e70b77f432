import { describe, expect, test } from 'vitest'
import { formatHttpRefusal, readHttpOpening } from '../../../egress/proxy/http-opening.ts'

const read = (text: string) => readHttpOpening(Buffer.from(text, 'latin1'))

describe('CONNECT', () => {
  test.each([
    ['a.example:443', 'a.example', 443],
    ['198.51.100.1:22', '198.51.100.1', 22],
    ['[2001:db8::1]:443', '2001:db8::1', 443],
  ])('to %s', (target, host, port) => {
    const opening = read(`CONNECT ${target} HTTP/1.1\r\nHost: ignored.example\r\n\r\nrest`)
    expect(opening).toMatchObject({ is: 'asked', asked: { via: 'http', host, port } })
    if (opening.is !== 'asked') throw new Error('not asked')
    expect(String(opening.asked.first)).toBe('rest')
    expect(String(opening.asked.accepted)).toBe('HTTP/1.1 200 Connection Established\r\n\r\n')
  })

  test.each([
    'a.example',
    'a.example:0',
    'a.example:65536',
    'a.example:443/x',
    'u@a.example:1',
    ':443',
    '[::1',
    '[zz]:1',
  ])('to %s is malformed', (target) => {
    expect(read(`CONNECT ${target} HTTP/1.1\r\n\r\n`)).toMatchObject({ is: 'bad', kind: 'malformed' })
  })
})

describe('a request for a whole URL', () => {
  test('is made into one for its server, without what is ours', () => {
    const opening = read(
      'POST http://a.example:8080/p?q=1 HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: Basic x\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive, X-Own\r\nContent-Length: 4\r\n\r\nbody',
    )
    if (opening.is !== 'asked') throw new Error('not asked')
    const { host, port, first, accepted } = opening.asked
    expect([host, port, accepted.length]).toEqual(['a.example', 8080, 0])
    expect(String(first)).toBe(
      'POST /p?q=1 HTTP/1.1\r\nHost: a.example:8080\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody',
    )
  })

  test.each([
    ['http://a.example', '/'],
    ['http://a.example/', '/'],
    ['http://a.example?q', '/?q'],
    ['HTTP://a.example/x', '/x'],
  ])('%s asks for %s', (url, target) => {
    const opening = read(`GET ${url} HTTP/1.0\r\n\r\n`)
    if (opening.is !== 'asked') throw new Error('not asked')
    expect(opening.asked.port).toBe(80)
    expect(String(opening.asked.first)).toBe(
      `GET ${target} HTTP/1.0\r\nHost: a.example\r\nConnection: close\r\n\r\n`,
    )
  })

  test('may ask for another protocol', () => {
    const opening = read(
      'GET http://a.example/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    )
    if (opening.is !== 'asked') throw new Error('not asked')
    expect(String(opening.asked.first)).toContain('\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n')
  })

  test.each([
    ['https://a.example/', 'unsupported'],
    ['ftp://a.example/', 'unsupported'],
    ['/path', 'malformed'],
    ['*', 'malformed'],
    ['http://', 'malformed'],
    ['http://user:word@a.example/', 'malformed'],
    ['http://a.example:99999/', 'malformed'],
    ['http://a.example/#x', 'malformed'],
  ])('for %s is %s', (target, kind) => {
    expect(read(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`)).toMatchObject({ is: 'bad', kind })
  })
})

test('waits for a request to be whole, but not for ever', () => {
  expect(read('GET http://a.example/ HTTP/1.1\r\nHost: a')).toEqual({ is: 'more' })
  expect(read(`GET http://a.example/ HTTP/1.1\r\nX: ${'a'.repeat(20_000)}`)).toMatchObject({ is: 'bad' })
})

test.each([
  ['GET  http://a.example/ HTTP/1.1\r\n\r\n'],
  ['GET http://a.example/ HTTP/2.0\r\n\r\n'],
  ['GET http://a.example/ HTTP/1.1\r\nName : x\r\n\r\n'],
  ['GET http://a.example/ HTTP/1.1\r\n folded\r\n\r\n'],
  ['GET http://a.example/ HTTP/1.1\r\nX: a\nY: b\r\n\r\n'],
  ['get http://a.example/ HTTP/1.1\r\n\r\n'],
])('%j is malformed', (text) => {
  expect(read(text)).toMatchObject({ is: 'bad', kind: 'malformed' })
})

// An expression tried every way of sharing out the blanks: 16 KiB of them held egress up for half an hour.
test('a field full of blanks costs no more than its length', () => {
  const fastestWith = (blanks: number) => {
    const text = `GET http://a.example/ HTTP/1.1\r\nX:${' '.repeat(blanks)}\0\r\n\r\n`
    const rounds = Array.from({ length: 5 }, () => {
      const startedAt = performance.now()
      expect(read(text)).toMatchObject({ is: 'bad', kind: 'malformed' })
      return performance.now() - startedAt
    })
    return Math.min(...rounds)
  }
  // Who tries every way of sharing them out takes thousands of times as long.
  expect(fastestWith(3000)).toBeLessThan(200 * fastestWith(3000 / 32))
})

test('a refusal says why', () => {
  expect(String(formatHttpRefusal('denied', 'no rule'))).toBe(
    'HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 8\r\nConnection: close\r\n\r\nno rule\n',
  )
})

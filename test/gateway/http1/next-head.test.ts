import { expect, test } from 'vitest'
import { readNextHead } from '../../../gateway/http1/next-head.ts'

const HEAD = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const read = (bytes: string, scanned = 0) => readNextHead(Buffer.from(bytes, 'latin1'), scanned)

test.each([
  ['nothing but empty lines', '\r\n\r\n', 'none'],
  ['half an empty line', '\r', 'unfinished'],
  ['a head without its last byte', HEAD.slice(0, -1), 'unfinished'],
  ['a head', HEAD, 'head'],
  ['a head behind two empty lines', `\r\n\r\n${HEAD}`, 'head'],
  ['a head behind three', `\r\n\r\n\r\n${HEAD}`, 'bad'],
  ['the beginning of TLS', '\x16\x03\x01', 'bad'],
  ['a bare line end before the head has ended', 'GET / HTTP/1.1\nHost', 'bad'],
  ['a head that cannot be read', 'GET /\r\n\r\n', 'bad'],
])('readNextHead() of %s: %s is %s', (_what, bytes, kind) => {
  expect(read(bytes)).toMatchObject({ kind })
})

test('readNextHead() says where the head ends, and leaves what follows', () => {
  const next = read(`\r\n${HEAD}body`)
  expect(next).toMatchObject({ kind: 'head', end: 2 + HEAD.length, head: { method: 'GET', target: '/' } })
})

test('readNextHead() finds a head that comes byte by byte', () => {
  const bytes = `\r\n${HEAD}`
  for (let length = 3; length < bytes.length; length++)
    expect(read(bytes.slice(0, length), length - 1), bytes.slice(0, length)).toEqual({ kind: 'unfinished' })
  expect(read(bytes, bytes.length - 1)).toMatchObject({ kind: 'head', end: bytes.length })
})

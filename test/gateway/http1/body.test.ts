import { describe, expect, test } from 'vitest'
import { type BodyReaderOptions, createBodyReader } from '../../../gateway/http1/body.ts'
import type { Framing } from '../../../lib/http1/framing.ts'

type Result = { passed: string; left: string; done: boolean; problem: string | undefined }

/** Feeds a text in pieces of `size` bytes, as the network might. */
function feed(framing: Framing, text: string, size = text.length, options: BodyReaderOptions = {}): Result {
  const reader = createBodyReader(framing, options)
  const bytes = Buffer.from(text, 'latin1')
  let passed = ''
  let left = ''
  for (let at = 0; at < bytes.length; at += Math.max(1, size)) {
    const piece = bytes.subarray(at, at + Math.max(1, size))
    const end =
      reader.done || reader.problem !== undefined
        ? 0
        : reader.read(piece, 0, (part) => {
            passed += part.toString('latin1')
          })
    left += piece.toString('latin1', end)
  }
  return { passed, left, done: reader.done, problem: reader.problem }
}

const CHUNKED: Framing = { kind: 'chunked' }
const keepAll = { keepTrailer: () => true }

describe('a body of a known length', () => {
  test.each([1, 2, 3, 5, 100])('ends where it says, in pieces of %i', (size) => {
    expect(feed({ kind: 'length', length: 5 }, 'helloGET /', size)).toEqual({
      passed: 'hello',
      left: 'GET /',
      done: true,
      problem: undefined,
    })
  })

  test('of 0 is done before it began', () => {
    expect(createBodyReader({ kind: 'length', length: 0 }).done).toBe(true)
    expect(createBodyReader({ kind: 'none' }).done).toBe(true)
  })

  test('that ends with the connection is never done', () => {
    expect(feed({ kind: 'close' }, 'hello')).toMatchObject({ passed: 'hello', done: false })
  })
})

describe('a chunked body', () => {
  const good: [string, string, string][] = [
    ['one chunk', '5\r\nhello\r\n0\r\n\r\n', 'hello'],
    ['nothing', '0\r\n\r\n', ''],
    ['several chunks', '1\r\na\r\n2\r\nbc\r\n0\r\n\r\n', 'abc'],
    ['sizes in both cases', 'a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n', '01234567890123456789'],
    ['leading zeros', '0005\r\nhello\r\n00\r\n\r\n', 'hello'],
    ['extensions', '5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n', 'hello'],
    ['line ends inside', '4\r\n\r\n\r\n\r\n0\r\n\r\n', '\r\n\r\n'],
    ['what looks like its end', '5\r\n0\r\n\r\n\r\n0\r\n\r\n', '0\r\n\r\n'],
  ]

  test.each(good)('with %s passes as it is, however it is cut', (_name, text) => {
    for (let size = 1; size <= text.length; size++)
      expect(feed(CHUNKED, `${text}NEXT`, size)).toEqual({
        passed: text,
        left: 'NEXT',
        done: true,
        problem: undefined,
      })
  })

  test.each(good)('with %s is decoded, however it is cut', (_name, text, data) => {
    for (let size = 1; size <= text.length; size++)
      expect(feed(CHUNKED, text, size, { decode: true })).toMatchObject({ passed: data, done: true })
  })

  test('passes the trailers that may pass, and those only', () => {
    const text = '1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nX-B: 2\r\n\r\n'
    for (let size = 1; size <= text.length; size++)
      expect(feed(CHUNKED, `${text}NEXT`, size, { keepTrailer: ({ key }) => key.startsWith('x-') })).toEqual({
        passed: '1\r\na\r\n0\r\nX-Sum: 1\r\nX-B: 2\r\n\r\n',
        left: 'NEXT',
        done: true,
        problem: undefined,
      })
  })

  const bad: [string, string][] = [
    ['no size', '\r\nhello'],
    ['a negative size', '-1\r\n'],
    ['a signed size', '+5\r\nhello\r\n'],
    ['a size with 0x', '0x5\r\nhello\r\n'],
    ['a size with an underscore', '1_0\r\n'],
    ['a space before the size', ' 5\r\nhello'],
    ['a space after the size', '5 \r\nhello'],
    ['a tab after the size', '5\t;a\r\nhello'],
    ['a size too large', '10000000000000\r\n'],
    ['a size of many zeros', '00000000000000\r\n'],
    ['a bare LF after the size', '5\nhello\r\n0\r\n\r\n'],
    ['a bare CR after the size', '5\rhello'],
    ['a bare LF after the data', '5\r\nhello\n0\r\n\r\n'],
    ['a bare CR after the data', '5\r\nhello\r0\r\n\r\n'],
    ['data longer than its size', '5\r\nhello!\r\n0\r\n\r\n'],
    ['data shorter than its size', '5\r\nhell\r\n0\r\n\r\n'],
    ['an LF in an extension', '5;a\nb\r\nhello\r\n'],
    ['a NUL in an extension', '5;a\0b\r\nhello\r\n'],
    ['a byte above 126 in an extension', '5;\xff\r\nhello\r\n'],
    ['a long extension', `5;${'a'.repeat(300)}\r\nhello\r\n`],
    ['a folded trailer', '0\r\nA: b\r\n c\r\n\r\n'],
    ['a trailer without colon', '0\r\nA\r\n\r\n'],
    ['a trailer with a bare CR', '0\r\nA: b\rc\r\n\r\n'],
    ['trailers without end', `0\r\n${'A: b\r\n'.repeat(4000)}`],
    ['a trailer line without end', `0\r\nA: ${'b'.repeat(20_000)}`],
  ]

  test.each(bad)('with %s is refused, however it is cut', (_name, text) => {
    for (const size of [1, 2, 3, 7, text.length]) {
      const result = feed(CHUNKED, text, size, keepAll)
      expect(result.done).toBe(false)
      expect(result.problem).toBeTypeOf('string')
    }
  })
})

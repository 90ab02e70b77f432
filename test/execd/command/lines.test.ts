import { describe, expect, test } from 'vitest'
import { LineSplitter, unfinishedBytes } from '../../../execd/command/lines.ts'

function split(...chunks: string[]): string[] {
  const splitter = new LineSplitter()
  return [...chunks.flatMap((chunk) => splitter.push(Buffer.from(chunk))), ...splitter.end()]
}

describe('LineSplitter', () => {
  test.each([
    [['a\n\nb\n'], ['a\n', '\n', 'b\n']],
    [['a\r\nb\rc'], ['a\r\n', 'b\r', 'c']],
    [
      ['a\r', '\nb'],
      ['a\r\n', 'b'],
    ],
    [
      ['a\r', 'b'],
      ['a\r', 'b'],
    ],
    [
      ['\r', '\r', '\n'],
      ['\r', '\r\n'],
    ],
    [
      ['a', 'b', '\n', 'c'],
      ['ab\n', 'c'],
    ],
    [['a\r'], ['a\r']],
    [[], []],
    [['\n'], ['\n']],
    [['x\ry\n\rz\r\n'], ['x\r', 'y\n', '\r', 'z\r\n']],
  ])('splits %j into %j', (chunks, lines) => {
    expect(split(...chunks)).toEqual(lines)
  })

  test('gives the same lines wherever the bytes are cut, and all of them together are the input', () => {
    const text = 'ä\r\n\n\rx\r\r\nüö\n\n€uro\r'
    const whole = split(text)
    const bytes = Buffer.from(text)
    for (let at = 0; at <= bytes.length; at++) {
      const splitter = new LineSplitter()
      const lines = [
        ...splitter.push(bytes.subarray(0, at)),
        ...splitter.push(bytes.subarray(at)),
        ...splitter.end(),
      ]
      expect(lines).toEqual(whole)
    }
    expect(whole.join('')).toBe(text)
  })

  test('gives a line of 256 KiB as one and an endless one in pieces that tear no character', () => {
    expect(split('x'.repeat(256 << 10))).toHaveLength(1)
    const splitter = new LineSplitter()
    const chunk = Buffer.from('€'.repeat(20_001))
    const lines: string[] = []
    for (let at = 0; at < 50; at++) lines.push(...splitter.push(chunk.subarray(0)))
    lines.push(...splitter.end())
    expect(lines.length).toBeGreaterThan(3)
    expect(lines.join('')).toBe('€'.repeat(20_001 * 50))
    for (const line of lines) expect(Buffer.byteLength(line)).toBeLessThan(700 << 10)
  })

  test('unfinishedBytes() counts the bytes of a character that is not complete', () => {
    const euro = Buffer.from('a€')
    expect([4, 3, 2, 1].map((length) => unfinishedBytes(euro.subarray(0, length)))).toEqual([0, 2, 1, 0])
    expect(unfinishedBytes(Buffer.from([0xf0, 0x9f, 0x98]))).toBe(3)
  })
})

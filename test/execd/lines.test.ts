import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Line, LineSplitter, unfinishedBytes } from '../../execd/lines.ts'

function split(...chunks: string[]): Line[] {
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
    const lines: Line[] = []
    for (let at = 0; at < 50; at++) lines.push(...splitter.push(chunk.subarray(0)))
    lines.push(...splitter.end())
    expect(lines.length).toBeGreaterThan(3)
    expect(lines.join('')).toBe('€'.repeat(20_001 * 50))
    for (const line of lines) expect(Buffer.byteLength(String(line))).toBeLessThan(512 << 10)
  })

  test('L2: gives the bytes of a line that is not valid UTF-8, and of no other', () => {
    const bytes = Buffer.from([0x61, 0xff, 0xfe, 0x0a, 0x62, 0x0a])
    const [broken, whole] = new LineSplitter().push(bytes)
    expect(broken).toEqual({ text: 'a\ufffd\ufffd\n', base64: bytes.subarray(0, 4).toString('base64') })
    expect(whole).toBe('b\n')
    // Output may have that sign itself.
    expect(new LineSplitter().push(Buffer.from('\ufffd\n'))).toEqual(['\ufffd\n'])
  })

  test('L2: loses no byte of anything, and no line exceeds what a client takes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 }), (chunks) => {
        const splitter = new LineSplitter()
        const lines = [...chunks.flatMap((chunk) => splitter.push(Buffer.from(chunk))), ...splitter.end()]
        const bytes = lines.map((line) =>
          typeof line === 'string' ? Buffer.from(line) : Buffer.from(line.base64, 'base64'),
        )
        expect(Buffer.concat(bytes)).toEqual(Buffer.concat(chunks))
      }),
    )
    // The worst: control characters take six bytes each, and one byte that is no character brings all of them once more.
    const splitter = new LineSplitter()
    const worst = Buffer.alloc(64 << 10, 1)
    worst[0] = 0xff
    const lines = Array.from({ length: 20 }, () => splitter.push(worst)).flat()
    expect(lines.length).toBeGreaterThan(0)
    for (const line of lines) expect(JSON.stringify(line).length).toBeLessThan(4 << 20)
  })

  test('unfinishedBytes() counts the bytes of a character that is not complete', () => {
    const euro = Buffer.from('a€')
    expect([4, 3, 2, 1].map((length) => unfinishedBytes(euro.subarray(0, length)))).toEqual([0, 2, 1, 0])
    expect(unfinishedBytes(Buffer.from([0xf0, 0x9f, 0x98]))).toBe(3)
  })
})

import busboy from 'busboy'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  MultipartError,
  MultipartParser,
  type PartHead,
  parseBoundary,
} from '../../../execd/files/multipart.ts'

type Parsed = { head: PartHead; content: string }

/** Parses a body that comes in pieces which end at `cuts`. Texts are Latin-1, a character for a byte. */
function parse(boundary: string, body: Buffer, cuts: number[] = []): Parsed[] {
  const parts: { head: PartHead; pieces: Buffer[]; isEnded: boolean }[] = []
  const parser = new MultipartParser(boundary, {
    begin: (head) => parts.push({ head, pieces: [], isEnded: false }),
    data: (bytes) => parts.at(-1)?.pieces.push(Buffer.from(bytes)),
    end: () => {
      const last = parts.at(-1)
      if (last) last.isEnded = true
    },
  })
  const places = [...new Set([0, ...cuts.filter((cut) => cut < body.length), body.length])].sort(
    (a, b) => a - b,
  )
  for (const [index, place] of places.entries()) parser.push(body.subarray(places[index - 1] ?? 0, place))
  parser.end()
  expect(parts.every((part) => part.isEnded)).toBe(true)
  return parts.map(({ head, pieces }) => ({ head, content: Buffer.concat(pieces).toString('latin1') }))
}

const latin1 = (text: string) => Buffer.from(text, 'latin1')

describe('MultipartParser', () => {
  const file = 'Content-Disposition: form-data; name="file"; filename="f"'
  test.each<[string, string, string[]]>([
    ['ordinary parts', `--b\r\n${file}\r\n\r\none\r\n--b\r\n${file}\r\n\r\ntwo\r\n--b--\r\n`, ['one', 'two']],
    ['no last line break', `--b\r\n${file}\r\n\r\none\r\n--b--`, ['one']],
    ['an empty part', `--b\r\n${file}\r\n\r\n\r\n--b--`, ['']],
    ['a text around the parts', `hello\r\n--b\r\n${file}\r\n\r\none\r\n--b--\r\nbye\r\n--b\r\n`, ['one']],
    ['an empty line before', `\r\n--b\r\n${file}\r\n\r\none\r\n--b--`, ['one']],
    [
      'spaces behind a boundary',
      `--b \t\r\n${file}\r\n\r\none\r\n--b  \r\n${file}\r\n\r\n2\r\n--b--`,
      ['one', '2'],
    ],
    [
      'lines without a carriage return',
      `--b\n${file}\n\none\r\n--b\n${file}\n\ntwo\n--b--\n`,
      ['one\r', 'two'],
    ],
    ['no head at all', '--b\r\n\r\none\r\n--b--', ['one']],
    [
      'what begins like a boundary',
      `--b\r\n${file}\r\n\r\n\r\n--bc\r\n--b-\r\n-b\r\n--b--`,
      ['\r\n--bc\r\n--b-\r\n-b'],
    ],
    ['a boundary within a line', `--b\r\n${file}\r\n\r\nx--b--\r\n--b--`, ['x--b--']],
    ['a line break without carriage return', `--b\r\n${file}\r\n\r\nx\n--b\n\r\n--b--`, ['x\n--b\n']],
    ['many line breaks', `--b\r\n${file}\r\n\r\n\r\r\n\r\n\r\n--b--`, ['\r\r\n\r\n']],
    ['other headers', `--b\r\nX: y\r\n ${file}\r\ncontent-type : a/b\r\n\r\n1\r\n--b--`, ['1']],
  ])('reads %s, in whatever pieces they come', (_what, body, contents) => {
    const bytes = latin1(body)
    expect(parse('b', bytes).map(({ content }) => content)).toEqual(contents)
    for (let cut = 1; cut < bytes.length; cut++)
      expect(parse('b', bytes, [cut, cut + 1]).map(({ content }) => content)).toEqual(contents)
    expect(
      parse(
        'b',
        bytes,
        Array.from(bytes, (_, index) => index),
      ).map(({ content }) => content),
    ).toEqual(contents)
  })

  test.each<[string, PartHead]>([
    ['form-data; name="file"; filename="a.txt"', { name: 'file', filename: 'a.txt' }],
    ['form-data; name=file; filename=a.txt', { name: 'file', filename: 'a.txt' }],
    ['form-data; name="file"; filename*=utf-8\'\'%e2%82%ac', { name: 'file', filename: "utf-8''%e2%82%ac" }],
    ['form-data; filename=""; name="file"', { name: 'file', filename: '' }],
    ['form-data; name="file"', { name: 'file' }],
    // One of the clients does not escape what is in its names.
    ['form-data; name="file"; filename="we"ird; name="x".txt"', { name: 'file', filename: 'we' }],
    ['form-data; name="file"; filename="back\\slash\\"', { name: 'file', filename: '"back\\slash\\"' }],
    ['form-data; name="a\\"b"; filename="ü"', { name: 'a"b', filename: 'ü' }],
    ['FORM-DATA;NAME="file";FileName="x"', { name: 'file', filename: 'x' }],
    ['form-data', {}],
  ])('reads the head %s', (disposition, head) => {
    const body = Buffer.from(`--b\r\ncontent-Disposition:${disposition}\r\n\r\n\r\n--b--`)
    expect(parse('b', body)[0]?.head).toEqual(head)
  })

  test.each([
    ['', 'its boundary is not in it'],
    ['--c\r\n\r\n\r\n--c--', 'its boundary is not in it'],
    [`--b\r\n${file}\r\n\r\none`, 'it ends before its last boundary'],
    [`--b\r\n${file}\r\n\r\none\r\n--b`, 'it ends before its last boundary'],
    [`--b\r\n${file}`, 'it ends before its last boundary'],
    ['--b\r\nno header\r\n\r\n\r\n--b--', 'a header without a name: "no header"'],
    [`--b\r\nX: ${'y'.repeat(17_000)}\r\n\r\n\r\n--b--`, 'larger than 16384 bytes'],
    [`--b\r\n${'X: y\r\n'.repeat(4000)}\r\n\r\n--b--`, 'larger than 16384 bytes'],
  ])('refuses %j', (body, message) => {
    const attempt = () => parse('b', latin1(body))
    expect(attempt).toThrow(MultipartError)
    expect(attempt).toThrow(message)
  })

  const boundaryChar = fc.constantFrom(..."ab-'()+_,./:=? 0".split(''))
  const boundary = fc
    .string({ unit: boundaryChar, minLength: 1, maxLength: 70 })
    .filter((text) => !/^\s|\s$/.test(text))
  // Mostly what looks like the end of a part.
  const content = (end: string) =>
    fc
      .array(
        fc.oneof(
          fc.constantFrom(
            '\r\n',
            '\r',
            '\n',
            '-',
            '--',
            '\r\n-',
            '\r\n--',
            `\r\n--${end}`,
            `--${end}`,
            '\r\n\r\n',
          ),
          fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
        ),
        { maxLength: 8 },
      )
      .map((pieces) => pieces.join(''))
      .filter((text) => !text.includes(`\r\n--${end}`) && !text.startsWith(`--${end}`))
  const form = boundary.chain((end) =>
    fc.record({
      end: fc.constant(end),
      contents: fc.array(content(end), { minLength: 1, maxLength: 4 }),
      padding: fc.constantFrom('', ' ', '\t '),
      preamble: fc.constantFrom('', '\r\n', 'This is a form.\r\n'),
      cuts: fc.array(fc.nat(400), { maxLength: 30 }),
    }),
  )

  function format({ end, contents, padding, preamble }: Omit<Form, 'cuts'>): Buffer {
    const parts = contents.map((text) => `--${end}${padding}\r\n${file}\r\n\r\n${text}\r\n`)
    return latin1(`${preamble}${parts.join('')}--${end}--\r\n`)
  }
  type Form = { end: string; contents: string[]; padding: string; preamble: string; cuts: number[] }

  test('gives back any contents between any boundaries, in any pieces', () => {
    fc.assert(
      fc.property(form, (one) => {
        const parsed = parse(one.end, format(one), one.cuts)
        expect(parsed.map((part) => part.content)).toEqual(one.contents)
        expect(parsed.every(({ head }) => head.name === 'file' && head.filename === 'f')).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('agrees with a parser that looks at each byte', async () => {
    const plain = form.filter((one) => one.padding === '' && one.preamble === '' && !/["\\]/.test(one.end))
    await fc.assert(
      fc.asyncProperty(plain, async (one) => {
        const found: Promise<string>[] = []
        const other = busboy({ headers: { 'content-type': `multipart/form-data; boundary="${one.end}"` } })
        other.on('file', (_name, stream) => {
          found.push(
            (async () => {
              const pieces: Buffer[] = []
              for await (const piece of stream) pieces.push(piece as Buffer)
              return Buffer.concat(pieces).toString('latin1')
            })(),
          )
        })
        const closed = new Promise((resolve) => other.once('close', resolve))
        other.end(format(one))
        await closed
        expect(await Promise.all(found)).toEqual(parse(one.end, format(one)).map((part) => part.content))
      }),
      { numRuns: 300 },
    )
  })

  test('takes or refuses what was damaged, and nothing else happens', () => {
    const damage = fc.array(
      fc.tuple(fc.nat(600), fc.constantFrom('cut', 'drop', 'double', 'change'), fc.nat(255)),
      {
        minLength: 1,
        maxLength: 4,
      },
    )
    fc.assert(
      fc.property(form, damage, (one, changes) => {
        let body: Buffer = format(one)
        for (const [where, kind, byte] of changes) {
          const at = where % (body.length + 1)
          if (kind === 'cut') body = body.subarray(0, at)
          if (kind === 'drop') body = Buffer.concat([body.subarray(0, at), body.subarray(at + 1)])
          if (kind === 'double')
            body = Buffer.concat([body.subarray(0, at), body.subarray(Math.max(0, at - 9))])
          if (kind === 'change')
            body = Buffer.concat([body.subarray(0, at), Buffer.of(byte), body.subarray(at + 1)])
        }
        let whole: Parsed[] | undefined
        try {
          whole = parse(one.end, body)
        } catch (error) {
          expect(error).toBeInstanceOf(MultipartError)
        }
        // In pieces it is what it is in one.
        if (whole) expect(parse(one.end, body, one.cuts)).toEqual(whole)
        else expect(() => parse(one.end, body, one.cuts)).toThrow(MultipartError)
      }),
      { numRuns: 3000 },
    )
  })
})

test.each([
  ['multipart/form-data; boundary=abc', 'abc'],
  ['Multipart/Form-Data;charset=utf-8; Boundary="a b;c"', 'a b;c'],
  ['multipart/form-data; boundary="a\\"b"', 'a"b'],
  ['multipart/form-data; x=boundary=z; boundary=abc; y=1', 'abc'],
  ['multipart/form-data; boundary=', undefined],
  ['multipart/form-data; boundary=""', undefined],
  ['multipart/form-data', undefined],
  ['multipart/mixed; boundary=abc', undefined],
  ['text/plain', undefined],
  [`multipart/form-data; boundary=${'x'.repeat(257)}`, undefined],
])('parseBoundary(%s)', (type, boundary) => {
  expect(parseBoundary(type)).toBe(boundary)
})

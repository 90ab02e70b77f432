import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeName, encodeName, hasForeignSurrogate, nativePath } from '../../../execd/files/name.ts'
import { booleanValue, choiceValue, integerValue, pathValues } from '../../../execd/files/query.ts'

describe('names', () => {
  test.each([
    [[0x61, 0xff], 'a\udcff'],
    [[0xc3, 0xa4], 'ä'],
    [[0xc3], '\udcc3'],
    [[0xe2, 0x82], '\udce2\udc82'],
    // The replacement character itself is a name like any other.
    [[0xef, 0xbf, 0xbd, 0xff], '\ufffd\udcff'],
    // A surrogate in UTF-8 is no UTF-8.
    [[0xed, 0xa0, 0x80], '\udced\udca0\udc80'],
    [[0xf0, 0x9f, 0x98, 0x80, 0x80], '😀\udc80'],
  ])('%j are read as they can be written again', (bytes, name) => {
    expect(decodeName(Buffer.from(bytes))).toBe(name)
    expect([...encodeName(name)]).toEqual(bytes)
  })

  test('of any bytes come back as these bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const name = decodeName(Buffer.from(bytes))
        expect(Buffer.from(bytes).equals(encodeName(name))).toBe(true)
        expect(hasForeignSurrogate(name)).toBe(false)
      }),
    )
  })

  test('that are UTF-8 stay the texts that they are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(nativePath(text)).toBe(text)
        expect(decodeName(Buffer.from(text))).toBe(text)
      }),
    )
  })

  test.each(['\ud800', '\udc00', 'a\udbffb', '\udd00'])('have no half of a character: %j', (name) => {
    expect(hasForeignSurrogate(name)).toBe(true)
  })
})

describe('pathValues()', () => {
  test.each([
    ['/x?path=%2Fa&path=b+c&other=d', ['/a', 'b c']],
    ['/x?path=%2Fa%FFb', ['/a\udcffb']],
    ['/x?p%61th=%FF&path=%EF%BF%BD&path&path=', ['\udcff', '\ufffd', '', '']],
    ['/x?path=a%3Db%ff=c', ['a=b\udcff=c']],
    ['/x?path=%zz%FF', ['%zz\udcff']],
    ['/x', []],
  ])('of %s', (url, expected) => {
    expect(pathValues(new URLSearchParams(url.split('?')[1]), 'path', url)).toEqual(expected)
  })
})

describe('other values of a query', () => {
  const query = new URLSearchParams('n=7&zero=0&bad=1e3&yes=true&no=false&maybe=1&empty=&word=tar')
  test('are read', () => {
    expect(integerValue(query, 'n', 1)).toBe(7)
    expect([integerValue(query, 'empty', 1), integerValue(query, 'none', 1)]).toEqual([undefined, undefined])
    expect(['yes', 'no', 'empty', 'none'].map((name) => booleanValue(query, name))).toEqual([
      true,
      false,
      false,
      false,
    ])
    expect(choiceValue(query, 'word', ['zip', 'tar'])).toBe('tar')
    expect(choiceValue(query, 'empty', ['zip'])).toBe(undefined)
  })
  test.each([
    [() => integerValue(query, 'zero', 1), '"zero" must be an integer from 1 on: found "0"'],
    [() => integerValue(query, 'bad', 0), 'found "1e3"'],
    [() => booleanValue(query, 'maybe'), '"maybe" must be true or false: found "1"'],
    [() => choiceValue(query, 'word', ['zip']), '"word" must be one of zip: found "tar"'],
  ])('are refused: %s', (read, message) => {
    expect(read).toThrow(expect.objectContaining({ status: 400, message: expect.stringContaining(message) }))
  })
})

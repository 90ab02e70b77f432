import { expect, test } from 'vitest'
import { decodeHuffman, maxTextBytes } from '../../../../egress/http2/hpack/huffman.ts'

/** All bytes, from 0 to 255, as another implementation writes them. */
const ALL_BYTES = Buffer.from(
  [
    'ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabffffffdfffffeb',
    'fffffecfffffedfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffffd7fffffdbfffffdffffffe3f',
    'ffffe7fffffebfffffed4fe3f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50ddbd7f061c58',
    'f265cd9f469d5af66dddbf871e5f9cff7ff7fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7f',
    'fbffdffffffcfffe6ffff4bfff9ffffa3fffd3ffff53fffd5ffffb3fffeb7fffdaffffb7ffff73fffeeffffdeffffebffffb',
    'fffffd9ffffdbfffebffffe0ffffeeffffc3ffff8bffff1ffffe4fffee7fffb1ffff97fffd9ffffcdffff9fffffbffffdaff',
    'feeffff4ffffb7fffee7fffe8ffffd3fffdeffffd5fffeeffffbdffffe1fffdfffff7fffff5ffffecffff07fff87fffe0fff',
    'f17fffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fffcbffff37ffff1fffff83ffffe1fffebfffe3ffff3fff',
    'ff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8fffffb7fff97fff8fffffe6fffffc1fffff87fff',
    'fe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9fffff97fffb3ffffcffffb7fffcdffff4ffff9ff',
    'ffd1ffffcffffeaffffafffffddffffeffffff4fffff5fffffabffffa7ffffd7fffff9bffffecfffffb7fffff3fffffe8fff',
    'ffd3fffffabfffff5fffffff7ffffecfffffdbfffffbbfffff7ffffff0fffffbbf',
  ].join(''),
  'hex',
)
const END_OF_TEXT = 'ffffffff'

function decode(coded: Buffer): string | undefined {
  const target = Buffer.alloc(maxTextBytes(coded.length))
  const length = decodeHuffman(coded, 0, coded.length, target)
  return length < 0 ? undefined : target.toString('latin1', 0, length)
}

test('decodeHuffman() knows the code of each byte', () => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  expect(decode(ALL_BYTES)).toBe(all.toString('latin1'))
})

test('decodeHuffman() reads only from the start to the end that it is given', () => {
  const target = Buffer.alloc(10)
  expect(decodeHuffman(Buffer.from('ff1fff', 'hex'), 1, 2, target)).toBe(1)
  expect(target.toString('latin1', 0, 1)).toBe('a')
})

test.each([
  ['one of five bits, filled up by three ones', '1f', 'a'],
  ['one of eight bits', 'f8', '&'],
  ['one of thirty bits, filled up by two ones', 'fffffff3', '\n'],
  ['one of thirteen bits, filled up by three ones', 'ffc7', '\0'],
  ['as many as there can be', '0000000000', '00000000'],
  ['less than the end of texts', 'ffffff', undefined],
  ['the beginning of a long code', 'fffe', undefined],
  ['the end of texts', END_OF_TEXT, undefined],
  ['the end of texts, behind seven bits that end nothing', `f8${END_OF_TEXT}`, undefined],
  ['nothing', '', ''],
])('decodeHuffman() reads %s', (_what, hex, text) => {
  expect(decode(Buffer.from(hex, 'hex'))).toBe(text)
})

import { expect, test } from 'vitest'
import { packNumber } from '../../../support/http2-frames.ts'
import { added, fromHex, indexed, literal, neverAdded, openDecoder, pairs, sizeUpdate } from './blocks.ts'
import { RFC_EXAMPLES } from './rfc-examples.ts'

const FIRST_DYNAMIC = 62

test.each(RFC_EXAMPLES)('reads the example $name of RFC 7541', ({ tableLimit, blocks }) => {
  for (const [place, { table, tableBytes }] of blocks.entries()) {
    const decoder = openDecoder()
    if (tableLimit !== undefined) expect(decoder.decode(sizeUpdate(tableLimit))?.fields).toEqual([])
    for (const { hex, fields } of blocks.slice(0, place + 1))
      expect(pairs(decoder.decode(fromHex(hex))?.fields)).toEqual(fields)
    const all = Buffer.concat([sizeUpdate(tableBytes), ...table.map(askFor)])
    expect(pairs(decoder.decode(all)?.fields)).toEqual(table)
    if (table.length === 0) continue
    // The table has just the size that the appendix tells: with one byte less its oldest entry leaves.
    const left = table.slice(0, -1)
    const fewer = Buffer.concat([sizeUpdate(tableBytes - 1), ...left.map(askFor)])
    expect(pairs(decoder.decode(fewer)?.fields)).toEqual(left)
    expect(decoder.decode(askFor(0, left.length))).toBe(undefined)
  }
})

function askFor(_field: unknown, place: number): Buffer {
  return indexed(FIRST_DYNAMIC + place)
}

const REST_OF_NUMBER = '80 80 80 80'

test.each([
  ['the index 0', '80'],
  ['an index behind a table that is empty', 'be'],
  ['an index behind a table of one entry', '40 01 61 01 62 bf'],
  ['a name by an index behind the table', '7e 01 62'],
  ['a name, not to be added, by an index behind the table', '0f 2f 01 62'],
  ['a name, never to be added, by an index behind the table', '1f 2f 01 62'],
  ['an index that is not there to its end', 'ff'],
  ['an index that goes on without an end', `ff ${REST_OF_NUMBER}`],
  [
    'a name by an index of more than five more bytes, though it is a small one',
    `0f ${REST_OF_NUMBER} 80 00 01 62`,
  ],
  ['an index that is 1 where a number of 32 bits has no more room', 'ff 82 ff ff ff 0f'],
  ['an index of 2 ** 32 + 2', 'ff 83 ff ff ff 0f'],
  ['the largest index of five more bytes', 'ff ff ff ff ff 7f'],
  ['a name of no length', '40'],
  ['a name whose length is not there to its end', '40 7f'],
  ['a name that is longer than the block', '40 03 61 62'],
  ['a name without a value', '40 01 61'],
  ['a value that is longer than the block', '40 01 61 02 62'],
  ['a value whose length is the largest of five more bytes', '40 01 61 7f ff ff ff ff 7f'],
  ['a value whose length is 2 ** 32 + 1', '40 01 61 7f 82 ff ff ff 0f 62'],
  ['a value that is not there, of a name that is', '04'],
  ['a value that is not there behind one that is never to be added', '10 01 61'],
  ['a text in the Huffman code that is longer than the block', '00 01 61 82 1f'],
  ['a text that fills up a byte by zeros', '00 01 61 81 18'],
  ['a text that fills up a byte by ones and a zero', '00 01 61 81 1e'],
  ['a text that fills up by eight ones', '00 01 61 82 1f ff'],
  ['a text that is nothing but eight ones', '00 01 61 81 ff'],
  ['a text that holds the end of texts', '00 01 61 84 ff ff ff ff'],
  ['a text that holds the end of texts behind a byte', '00 01 61 85 1f ff ff ff ff'],
  ['a text that ends in the middle of a long code', '00 01 61 82 ff fe'],
  ['a name that is no text in the Huffman code', '40 81 00 01 62'],
  ['a size update behind a field', '82 20'],
  ['what would be a field if the size update behind another were none', '82 20 01 61 01 62'],
  ['three size updates', '20 20 20'],
  ['a size update above what was allowed', '3f e2 1f'],
  ['a size update that is above it by far', '3f ff ff ff ff 7f'],
  ['a size update that is not there to its end', '3f e1'],
  ['a size update above what was allowed behind one that is not', '20 3f e2 1f'],
])('refuses %s', (_what, hex) => {
  expect(openDecoder().decode(fromHex(hex))).toBe(undefined)
})

test.each([
  ['nothing at all', '', []],
  ['two size updates, and nothing else', '20 3f e1 1f', []],
  ['an empty value', '04 00', [[':path', '']]],
  ['an empty name', '00 00 01 62', [['', 'b']]],
  ['an empty text in the Huffman code', '00 01 61 80', [['a', '']]],
  ['a text that fills up by seven ones', '00 01 61 84 00 00 00 7f', [['a', '00000']]],
  ['the last static entry', 'bd', [['www-authenticate', '']]],
  ['a number of five more bytes that is no large one', '0f 80 80 80 80 00 01 62', [['accept-charset', 'b']]],
  ['bytes above 127', '00 01 61 02 c3 a9', [['a', 'Ã©']]],
  [
    'the newest entry and the one before it',
    '40 01 61 01 62 40 01 63 01 64 be bf',
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
      ['a', 'b'],
    ],
  ],
])('reads %s', (_what, hex, fields) => {
  expect(pairs(openDecoder().decode(fromHex(hex))?.fields)).toEqual(fields)
})

test('knows the static entries by their indexes, and gives names as keys', () => {
  const decoder = openDecoder()
  expect(decoder.decode(indexed(2))?.fields).toEqual([{ name: ':method', key: ':method', value: 'GET' }])
  expect(pairs(decoder.decode(Buffer.from([0x88, 0x8e, 0x90, 0x9c, 0xb6]))?.fields)).toEqual([
    [':status', '200'],
    [':status', '500'],
    ['accept-encoding', 'gzip, deflate'],
    ['content-length', ''],
    ['server', ''],
  ])
})

test('says which fields are never to be put into a table', () => {
  const block = Buffer.concat([
    added('a', '1'),
    neverAdded('b', '2'),
    literal('c', '3'),
    fromHex('1f 08 01 34'),
  ])
  const decoded = openDecoder().decode(block)
  expect(decoded?.fields.map(({ name, isSensitive = false }) => [name, isSensitive])).toEqual([
    ['a', false],
    ['b', true],
    ['c', false],
    ['authorization', true],
  ])
})

test('lets the oldest entries leave, and all of them for one that is too large', () => {
  const decoder = openDecoder()
  // Each takes 1 + 1 + 32.
  const three = Buffer.concat([sizeUpdate(3 * 34), added('a', '1'), added('b', '2'), added('c', '3')])
  expect(pairs(decoder.decode(Buffer.concat([three, askFor(0, 2)]))?.fields.slice(-1))).toEqual([['a', '1']])
  const fourth = Buffer.concat([added('d', '4'), askFor(0, 0), askFor(0, 1), askFor(0, 2)])
  expect(pairs(decoder.decode(fourth)?.fields)?.map(([name]) => name)).toEqual(['d', 'd', 'c', 'b'])
  expect(pairs(decoder.decode(added('e', 'x'.repeat(3 * 34 - 32)))?.fields)?.length).toBe(1)
  expect(decoder.decode(askFor(0, 0))).toBe(undefined)
})

test('takes a name from an entry that leaves for what is named so', () => {
  const decoder = openDecoder()
  const block = Buffer.concat([sizeUpdate(64), added('name', '1'), fromHex('7e 02 3232')])
  expect(pairs(decoder.decode(block)?.fields)).toEqual([
    ['name', '1'],
    ['name', '22'],
  ])
  expect(pairs(decoder.decode(askFor(0, 0))?.fields)).toEqual([['name', '22']])
  expect(decoder.decode(askFor(0, 1))).toBe(undefined)
})

test('keeps a table of the size of the beginning until an update, also where it may be larger', () => {
  const decoder = openDecoder({ maxTableBytes: 65_536 })
  const large = 'x'.repeat(4096 - 33)
  expect(decoder.decode(Buffer.concat([added('a', large), askFor(0, 0)]))).toBeDefined()
  expect(decoder.decode(Buffer.concat([added('b', `${large}x`), askFor(0, 0)]))).toBe(undefined)
  const other = openDecoder({ maxTableBytes: 65_536 })
  const many = Array.from({ length: 1900 }, (_, place) => added('a', String(place % 10)))
  const block = Buffer.concat([sizeUpdate(65_536), ...many, askFor(0, 1899)])
  expect(other.decode(block)?.isTooLarge).toBe(true)
  expect(pairs(other.decode(askFor(0, 1899))?.fields)).toEqual([['a', '0']])
})

test.each([
  ['its size', { maxListBytes: 3 * 34 }, 3],
  ['its size, which one byte less would not be', { maxListBytes: 3 * 34 - 1 }, 2],
  ['the number of its fields', { maxFields: 3 }, 3],
])(
  'reads of a list that is too large by %s only the beginning, and the rest for the table',
  (_by, limits, kept) => {
    const decoder = openDecoder(limits)
    const names = ['a', 'b', 'c', 'd']
    const decoded = decoder.decode(Buffer.concat(names.map((name) => added(name, '1'))))
    expect(decoded?.isTooLarge).toBe(true)
    expect(pairs(decoded?.fields)).toEqual(names.slice(0, kept).map((name) => [name, '1']))
    expect(pairs(decoder.decode(Buffer.concat([askFor(0, 0), askFor(0, 3)]))?.fields)).toEqual([
      ['d', '1'],
      ['a', '1'],
    ])
  },
)

test('takes a list that is just not too large', () => {
  const decoder = openDecoder({ maxListBytes: 2 * 34, maxFields: 2 })
  const decoded = decoder.decode(Buffer.concat([literal('a', '1'), literal('b', '2')]))
  expect(decoded).toMatchObject({ isTooLarge: false, fields: [{ name: 'a' }, { name: 'b' }] })
})

test.each([
  ['an index', '80'],
  ['a text', '00 01 61 81 18'],
  ['the length of a text', '00 01 61 05 62'],
  ['a size update', '20'],
])('finds what is wrong with %s also behind what was too large', (_what, hex) => {
  const block = Buffer.concat([literal('a', '1'), literal('b', '2'), fromHex(hex)])
  expect(openDecoder({ maxFields: 1 }).decode(block)).toBe(undefined)
})

test('gives of an entry that is asked for again and again no more than the list may have', () => {
  const decoder = openDecoder({ maxFields: 100_000 })
  decoder.decode(added('a', 'x'.repeat(4000)))
  const decoded = decoder.decode(Buffer.alloc(60_000, askFor(0, 0)))
  expect(decoded?.isTooLarge).toBe(true)
  expect(decoded?.fields.length).toBe(Math.floor(65_536 / 4033))
})

test('reads long texts, and short ones after them', () => {
  const decoder = openDecoder()
  const long = literal('a', 'x'.repeat(20_000))
  // Sixteen codes of five bits are ten bytes: "0000000000000000".
  const coded = Buffer.concat([fromHex('00 01 61'), packNumber(0x80, 127, 10_000), Buffer.alloc(10_000)])
  expect(decoder.decode(long)?.fields[0]?.value.length).toBe(20_000)
  expect(decoder.decode(coded)?.fields[0]?.value).toBe('0'.repeat(16_000))
  expect(pairs(decoder.decode(fromHex('00 01 61 81 f8'))?.fields)).toEqual([['a', '&']])
})

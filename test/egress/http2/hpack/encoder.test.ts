import { expect, test } from 'vitest'
import { type FieldToSend, HpackEncoder } from '../../../../egress/http2/hpack/encoder.ts'
import { packNumber, packText } from '../../../support/http2-frames.ts'
import { added, fromHex, indexed, literal, neverAdded, openDecoder, pairs, sizeUpdate } from './blocks.ts'

const field = (name: string, value: string): FieldToSend => ({ name, value })
const secret = (name: string, value: string): FieldToSend => ({ name, value, isSensitive: true })
const hex = (bytes: Buffer) => bytes.toString('hex')
/** What follows the first bits: the name by its index, and the value. */
const byName = (bits: number, max: number, index: number, value: string) =>
  Buffer.concat([packNumber(bits, max, index), packText(value)])
const addedByName = (index: number, value: string) => byName(0x40, 0x3f, index, value)
const literalByName = (index: number, value: string) => byName(0x00, 0x0f, index, value)
const neverByName = (index: number, value: string) => byName(0x10, 0x0f, index, value)

test.each([
  ['a static entry', [field(':method', 'POST')], [indexed(3)]],
  ['the last of several static entries of one name', [field(':status', '500')], [indexed(14)]],
  ['a static entry whose value is empty', [field('accept', '')], [indexed(19)]],
  ['a static name', [field('user-agent', 'x')], [addedByName(58, 'x')]],
  ['a static name of several entries', [field(':status', '418')], [addedByName(8, '418')]],
  ['a name that is nowhere', [field('a', 'b')], [added('a', 'b')]],
  [
    'what comes again',
    [field('a', 'b'), field('c', 'd'), field('a', 'b')],
    [added('a', 'b'), added('c', 'd'), indexed(63)],
  ],
  ['a name that comes again', [field('a', 'b'), field('a', 'c')], [added('a', 'b'), addedByName(62, 'c')]],
  [
    'what differs each time, by a static name',
    [field(':path', '/x'), field(':path', '/x')],
    [literalByName(4, '/x'), literalByName(4, '/x')],
  ],
  ['what differs each time, though it has a static entry', [field(':path', '/')], [indexed(4)]],
  [
    'what differs each time, by a name that is nowhere',
    [field('x-request-id', '1')],
    [literal('x-request-id', '1')],
  ],
  ['a secret', [secret('a', 'b'), secret('a', 'b')], [neverAdded('a', 'b'), neverAdded('a', 'b')]],
  ['a secret of a static name', [secret('authorization', 'b')], [neverByName(23, 'b')]],
  ['a secret that a static entry has', [secret(':method', 'GET')], [neverByName(2, 'GET')]],
  [
    'a secret that the table has',
    [field('a', 'b'), secret('a', 'b')],
    [added('a', 'b'), neverByName(62, 'b')],
  ],
  ['an empty name and an empty value', [field('', '')], [added('', '')]],
  ['bytes above 127', [field('a', 'Ã©\xff')], [fromHex('40 01 61 03 c3 a9 ff')]],
  [
    'a long value with bytes above 127',
    [secret('a', 'Ã©'.repeat(100))],
    [fromHex('10 01 61 7f 49'), Buffer.alloc(200, 'é')],
  ],
  ['nothing', [], []],
])('writes %s', (_what, fields, expected) => {
  expect(hex(new HpackEncoder().encode(fields))).toBe(hex(Buffer.concat(expected)))
})

test.each([
  [126, '7e'],
  [127, '7f 00'],
  [128, '7f 01'],
  [254, '7f 7f'],
  [255, '7f 80 01'],
  [16_510, '7f ff 7f'],
  [16_511, '7f 80 80 01'],
  [3_000_000, '7f c1 8c b7 01'],
])('writes that a value has %i bytes', (bytes, length) => {
  const block = new HpackEncoder().encode([secret('a', 'x'.repeat(bytes))])
  expect(hex(block.subarray(0, 3 + length.replaceAll(' ', '').length / 2))).toBe(
    hex(fromHex(`10 01 61 ${length}`)),
  )
  expect(block.length).toBe(3 + fromHex(length).length + bytes)
})

test('writes each block into bytes of its own', () => {
  const encoder = new HpackEncoder()
  const one = encoder.encode([secret('a', 'one')])
  const other = encoder.encode([secret('b', 'other')])
  expect([hex(one), hex(other)]).toEqual([hex(neverAdded('a', 'one')), hex(neverAdded('b', 'other'))])
})

test('puts nothing into the table that takes more than half of it', () => {
  const encoder = new HpackEncoder()
  const largest = 'x'.repeat(2048 - 33)
  expect(encoder.encode([field('a', largest)])[0]).toBe(0x40)
  expect(encoder.encode([field('b', `${largest}x`)])[0]).toBe(0x00)
  expect(hex(encoder.encode([field('a', largest)]))).toBe(hex(indexed(62)))
})

test('forgets the oldest entries as the other side does', () => {
  const encoder = new HpackEncoder()
  const decoder = openDecoder()
  encoder.limitTable(3 * 34)
  const send = (name: string, value: string) => {
    const block = encoder.encode([field(name, value)])
    expect(pairs(decoder.decode(block)?.fields)).toEqual([[name, value]])
    return hex(block)
  }
  expect(send('a', '1')).toBe(hex(Buffer.concat([sizeUpdate(3 * 34), added('a', '1')])))
  send('b', '1')
  send('a', '2')
  // Its name is in the table still, by the entry that came last.
  expect(send('a', '1')).toBe(hex(indexed(64)))
  expect(send('a', '3')).toBe(hex(addedByName(62, '3')))
  expect(send('a', '1')).toBe(hex(addedByName(62, '1')))
  expect(send('b', '1')).toBe(hex(added('b', '1')))
  send('c', '1')
  send('c', '2')
  expect(send('a', '1')).toBe(hex(added('a', '1')))
})

test('takes a name from an entry that leaves for what is named so', () => {
  const encoder = new HpackEncoder()
  const decoder = openDecoder()
  encoder.limitTable(100)
  const sent = [field('long-name', '1'), field('long-name', '2'), field('long-name', '3')]
  for (let round = 0; round < 2; round++)
    expect(pairs(decoder.decode(encoder.encode(sent))?.fields)).toEqual(
      sent.map(({ name, value }) => [name, value]),
    )
})

test('finds what comes again among many values of one name, and is right where it does not look', () => {
  const encoder = new HpackEncoder()
  const decoder = openDecoder()
  const cookies = Array.from({ length: 50 }, (_, place) => field('cookie', `c${place}=1`))
  const send = (fields: FieldToSend[]) => {
    const block = encoder.encode(fields)
    expect(pairs(decoder.decode(block)?.fields)).toEqual(fields.map(({ name, value }) => [name, value]))
    return block.length
  }
  send(cookies)
  expect(send(cookies.slice(-5))).toBe(5)
  expect(send(cookies.slice(0, 1))).toBeGreaterThan(1)
})

test.each([
  ['what the other side allows from the beginning', [4096], []],
  ['more than that, of which nothing is made', [65_536], []],
  ['less', [100], [100]],
  ['nothing', [0], [0]],
  ['less and again what it was', [100, 4096], [100, 4096]],
  ['less and again more', [100, 65_536], [100, 4096]],
  ['less and a little more', [100, 50, 200, 150], [50, 150]],
  ['less and less', [100, 50], [50]],
])('begins the next block with the updates for: %s', (_what, limits, updates) => {
  const encoder = new HpackEncoder()
  for (const limit of limits) encoder.limitTable(limit)
  expect(hex(encoder.encode([]))).toBe(hex(Buffer.concat(updates.map(sizeUpdate))))
  expect(encoder.encode([]).length).toBe(0)
})

test('tells when it may have more again, also in a later block', () => {
  const encoder = new HpackEncoder()
  encoder.limitTable(100)
  encoder.encode([])
  encoder.limitTable(4096)
  expect(hex(encoder.encode([]))).toBe(hex(sizeUpdate(4096)))
})

test('has lost what did not fit at the least limit', () => {
  const encoder = new HpackEncoder()
  const decoder = openDecoder()
  const fields = [field('a', '1'), field('b', '2')]
  decoder.decode(encoder.encode(fields))
  encoder.limitTable(40)
  encoder.limitTable(4096)
  const block = encoder.encode(fields)
  expect(hex(block)).toBe(
    hex(Buffer.concat([sizeUpdate(40), sizeUpdate(4096), added('a', '1'), indexed(63)])),
  )
  expect(pairs(decoder.decode(block)?.fields)).toEqual([
    ['a', '1'],
    ['b', '2'],
  ])
})

test('writes everything as it is where it may have no table', () => {
  const encoder = new HpackEncoder()
  encoder.limitTable(0)
  const fields = [field('a', '1'), field('a', '1'), field(':method', 'GET')]
  encoder.encode(fields)
  expect(hex(encoder.encode(fields))).toBe(
    hex(Buffer.concat([literal('a', '1'), literal('a', '1'), indexed(2)])),
  )
})

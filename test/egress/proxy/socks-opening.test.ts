import { expect, test } from 'vitest'
import { formatSocksRefusal, readSocksOpening } from '../../../egress/proxy/socks-opening.ts'

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const greet = (hex: string) => readSocksOpening(bytes(hex), false)
const ask = (hex: string) => readSocksOpening(bytes(hex), true)

test('a greeting is taken when nobody need log in', () => {
  expect(greet('05 01 00')).toEqual({ is: 'more', send: bytes('0500'), taken: 3 })
  expect(greet('05 02 02 00 ff')).toEqual({ is: 'more', send: bytes('0500'), taken: 4 })
  expect(greet('05 02 02')).toEqual({ is: 'more' })
  expect(greet('05')).toEqual({ is: 'more' })
  expect(greet('05 01 02')).toMatchObject({ is: 'bad', kind: 'unsupported' })
  expect(greet('04 01')).toMatchObject({ is: 'bad', kind: 'malformed' })
})

test.each([
  ['05 01 00 01 c6336401 01bb', '198.51.100.1', 443],
  ['05 01 00 03 09 612e6578616d706c65 0050', 'a.example', 80],
  ['05 01 00 04 20010db8000000000000000000000001 01bb', '2001:db8:0:0:0:0:0:1', 443],
])('%s asks for %s', (hex, host, port) => {
  const opening = ask(`${hex} 7878`)
  expect(opening).toMatchObject({ is: 'asked', asked: { via: 'socks5', host, port } })
  if (opening.is !== 'asked') throw new Error('not asked')
  expect(String(opening.asked.first)).toBe('xx')
  expect(opening.asked.accepted).toEqual(bytes('05 00 00 01 00000000 0000'))
  for (let length = 0; length < bytes(hex).length; length++)
    expect(readSocksOpening(bytes(hex).subarray(0, length), true)).toEqual({ is: 'more' })
})

test.each([
  ['05 02 00 01 c6336401 01bb', 'unsupported'],
  ['05 03 00 01 c6336401 01bb', 'unsupported'],
  ['05 01 00 02 00', 'malformed'],
  ['05 01 00 03 00 0050', 'malformed'],
  ['05 01 00 01 c6336401 0000', 'malformed'],
  ['04 01 00 01', 'malformed'],
])('%s is %s', (hex, kind) => {
  expect(ask(hex)).toMatchObject({ is: 'bad', kind })
})

test('a refusal is a number of the protocol', () => {
  expect(formatSocksRefusal('denied', true)).toEqual(bytes('05 02 00 01 00000000 0000'))
  expect(formatSocksRefusal('unsupported', false)).toEqual(bytes('05ff'))
})

import { expect, test } from 'vitest'
import { chooseSubnet, gatewayOf } from '../../egress/network.ts'
import { parseRange } from '../../egress/policy/addresses.ts'

const used = (...ranges: string[]) => ranges.map((range) => ({ range: parseRange(range), owner: 'someone' }))
const choose = (more: Partial<Parameters<typeof chooseSubnet>[0]> = {}) =>
  chooseSubnet({ wanted: 'auto', key: '0003', stored: undefined, used: [], hasSandboxes: false, ...more })

test('auto begins where the key says and takes the first range that is free', () => {
  expect(choose()).toBe('10.67.0.0/16')
  expect(choose({ used: used('10.67.5.0/24', '10.68.0.1/32') })).toBe('10.69.0.0/16')
  expect(choose({ key: '003f', used: used('10.127.0.0/16') })).toBe('10.64.0.0/16')
})

test('auto goes on in 172.16.0.0/12 when 10.64.0.0/10 is taken', () => {
  expect(choose({ used: used('10.0.0.0/8') })).toBe('172.19.0.0/16')
  expect(() => choose({ used: used('10.0.0.0/8', '172.16.0.0/12') })).toThrow('name a free range')
})

test('the stored range stays while it is free or in use by sandboxes', () => {
  expect(choose({ stored: '10.99.0.0/16' })).toBe('10.99.0.0/16')
  expect(choose({ stored: '10.99.0.0/16', used: used('10.99.1.0/24') })).toBe('10.67.0.0/16')
  expect(choose({ stored: '10.99.0.0/16', used: used('10.99.1.0/24'), hasSandboxes: true })).toBe(
    '10.99.0.0/16',
  )
})

test('a range that the operator wants is taken as it is', () => {
  expect(choose({ wanted: '192.168.128.0/20', stored: '10.99.0.0/16' })).toBe('192.168.128.0/20')
})

test.each([
  [{ wanted: '10.88.1.0/16' }, 'must begin at its first address: write "10.88.0.0/16"'],
  [{ wanted: '198.51.0.0/16' }, 'must lie within'],
  [
    { wanted: '10.88.0.0/16', stored: '10.99.0.0/16', hasSandboxes: true },
    'cannot change from "10.99.0.0/16" to "10.88.0.0/16" while there are sandboxes',
  ],
  [{ wanted: '10.88.0.0/16', used: used('10.88.3.0/24') }, 'overlaps 10.88.3.0-10.88.3.255 of someone'],
])('%j is refused with a sentence', (more, message) => {
  expect(() => choose(more)).toThrow(message)
})

test('the gateway has the first address', () => {
  expect(gatewayOf('10.88.0.0/16')).toBe('10.88.0.1')
})

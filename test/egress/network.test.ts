import { expect, test } from 'vitest'
import { chooseSubnet, gatewayOf } from '../../egress/network.ts'
import { chooseSubnet6 } from '../../egress/network6.ts'
import { parseRange } from '../../egress/policy/addresses.ts'
import { parseRange6 } from '../../egress/policy/addresses6.ts'

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

const used6 = (...ranges: string[]) =>
  ranges.map((range) => ({ range: parseRange6(range), owner: 'someone' }))
const choose6 = (more: Partial<Parameters<typeof chooseSubnet6>[0]> = {}) => {
  let times = 0
  const random = () => Uint8Array.of(0x12, 0x34, 0x56, 0x78, 0x9a, 0, ++times)
  return chooseSubnet6({ wanted: 'auto', stored: undefined, used: [], hasSandboxes: false, random, ...more })
}

test('N2: the range of IPv6 is random, stays, and is none that another has', () => {
  expect(choose6()).toBe('fd12:3456:789a:1::/64')
  expect(choose6({ used: used6('fd12:3456:789a:1::7/128') })).toBe('fd12:3456:789a:2::/64')
  expect(choose6({ stored: 'fd00:9::/64' })).toBe('fd00:9::/64')
  expect(choose6({ stored: 'fd00:9::/64', used: used6('fd00:9::/32') })).toBe('fd12:3456:789a:1::/64')
  expect(choose6({ stored: 'fd00:9::/64', used: used6('fd00:9::/32'), hasSandboxes: true })).toBe(
    'fd00:9::/64',
  )
  expect(choose6({ wanted: 'FD00:7:0::/56', stored: 'fd00:9::/64' })).toBe('fd00:7::/56')
})

test.each([
  ['Every private IPv6 range that was tried is in use', { used: used6('fc00::/7') }],
  ['must begin at its first address: write "fd00:7::/64"', { wanted: 'fd00:7::1/64' }],
  ['cannot change from "fd00:9::/64"', { wanted: 'fd00:7::/64', stored: 'fd00:9::/64', hasSandboxes: true }],
  ['overlaps fd00:7::5 of someone', { wanted: 'fd00:7::/64', used: used6('fd00:7::5/128') }],
])('N2: a range of IPv6 is refused with "%s"', (message, more) => {
  expect(() => choose6(more)).toThrow(message)
})

import { SocketAddress } from 'node:net'
import { expect, test } from 'vitest'
import { address6Of, canonicalAddress, ends6, formatAddress6, parseAddress6 } from '../../lib/address6.ts'

test.each([
  ['::', 0n],
  ['::1', 1n],
  ['2001:db8::1', (0x2001_0db8n << 96n) | 1n],
  ['fe80::1%eth0', (0xfe80n << 112n) | 1n],
  ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 2n ** 128n - 1n],
])('parseAddress6(%s)', (text, number) => {
  expect(parseAddress6(text)).toBe(number)
})

test.each([
  ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
  ['2001:db8:0:1:0:0:0:1', '2001:db8:0:1::1'],
  ['2001:db8:0:1:2:3:4:5', '2001:db8:0:1:2:3:4:5'],
  ['2001:0:0:1:0:0:1:1', '2001::1:0:0:1:1'],
  ['64:ff9b::198.51.100.1', '64:ff9b::c633:6401'],
  ['198.51.100.1', '198.51.100.1'],
  ['a.example', 'a.example'],
])('canonicalAddress(%s) is %s, as Node writes the address of a socket', (text, canonical) => {
  expect(canonicalAddress(text)).toBe(canonical)
  if (canonical.includes(':'))
    expect(new SocketAddress({ address: text, family: 'ipv6' }).address).toBe(canonical)
})

test('whoever has an IPv4 address has the IPv6 one with the same last 32 bits', () => {
  expect(address6Of('fd12:3456:789a:1::/64', '10.88.0.5')).toBe('fd12:3456:789a:1::a58:5')
  expect(address6Of('fd12:3456:789a:1:2:3::/96', '255.255.255.255')).toBe('fd12:3456:789a:1:2:3:ffff:ffff')
  expect(() => address6Of('fd12::/64', '10.88.0')).toThrow('is no IPv4 address')
})

test('both ends of a range', () => {
  const { first, last } = ends6(parseAddress6('2001:db8::ff'), 120)
  expect([first, last].map(formatAddress6)).toEqual(['2001:db8::', '2001:db8::ff'])
  expect(ends6(5n, 0)).toEqual({ first: 0n, last: 2n ** 128n - 1n })
  expect(ends6(5n, 128)).toEqual({ first: 5n, last: 5n })
})

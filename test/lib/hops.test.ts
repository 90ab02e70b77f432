import { expect, test } from 'vitest'
import { ClientCounts, countedAs } from '../../gateway/front/client-counts.ts'
import { clientOf, parseRanges, readClient } from '../../lib/hops.ts'

const TRUSTED = parseRanges(['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'])
const ORIGIN = { address: '10.0.0.1', isEncrypted: false, isTrusted: true }
const read = (...lines: [string, string][]) =>
  readClient(
    ORIGIN,
    lines.map(([name, value]) => ({ name, key: name.toLowerCase(), value })),
    TRUSTED,
  )

test.each([
  ['10.1.2.3', true],
  ['11.1.2.3', false],
  ['192.0.2.1', true],
  ['192.0.2.2', false],
  ['2001:db8:1::1', true],
  ['2001:db9::1', false],
  ['unknown', false],
  ['', false],
])('%s is in the ranges: %s', (address, isIn) => {
  expect(TRUSTED.has(address)).toBe(isIn)
  expect(parseRanges([]).has(address)).toBe(false)
})

test.each([
  ['nothing', [], '10.0.0.1'],
  ['the client', ['203.0.113.9'], '203.0.113.9, 10.0.0.1'],
  ['a hop that is trusted too', ['203.0.113.9, 10.9.9.9'], '203.0.113.9, 10.9.9.9, 10.0.0.1'],
  ['what the client has made up before that', ['1.1.1.1, 203.0.113.9'], '203.0.113.9, 10.0.0.1'],
  ['a trusted address made up', ['10.6.6.6, 203.0.113.9'], '203.0.113.9, 10.0.0.1'],
  ['several fields', ['203.0.113.9', '10.9.9.9'], '203.0.113.9, 10.9.9.9, 10.0.0.1'],
  ['ports', ['203.0.113.9:1234'], '203.0.113.9, 10.0.0.1'],
  ['IPv6', ['[2001:db7::1]:443'], '2001:db7::1, 10.0.0.1'],
  ['what is no address', ['203.0.113.9, unknown'], '10.0.0.1'],
  ['what is no address, further out', ['x, 10.9.9.9'], '10.9.9.9, 10.0.0.1'],
])('X-Forwarded-For with %s', (_name, values, forwardedFor) => {
  const client = read(...values.map((value): [string, string] => ['X-Forwarded-For', value]))
  expect(client).toEqual({
    address: forwardedFor.split(',')[0],
    isEncrypted: false,
    forwardedFor,
  })
})

test.each([
  [[['X-Forwarded-Proto', 'https']], { isEncrypted: true }],
  [[['X-Forwarded-Proto', 'HTTPS']], { isEncrypted: true }],
  [[['X-Forwarded-Proto', 'https, http']], { isEncrypted: false }],
  [[['X-Forwarded-Proto', 'javascript']], { isEncrypted: false }],
  [[['X-Forwarded-Host', 'a.example:8443']], { forwardedHost: 'a.example:8443' }],
] as [[string, string][], object][])('%j', (lines, part) => {
  expect(read(...lines)).toMatchObject(part)
})

test('a host that is none is not passed on', () => {
  expect(read(['X-Forwarded-Host', 'a b'])).not.toHaveProperty('forwardedHost')
})

test('of others the connection tells all', () => {
  expect(clientOf({ address: '203.0.113.9', isEncrypted: true, isTrusted: false })).toEqual({
    address: '203.0.113.9',
    isEncrypted: true,
    forwardedFor: '203.0.113.9',
  })
})

test.each([
  ['127.0.0.1', undefined],
  ['::1', undefined],
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8::7', '2001:db8:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['::ffff:0:1', '0:0:0:0'],
])('%s is counted as %s', (address, key) => {
  expect(countedAs(address)).toBe(key)
})

test('a client has as many connections as it may, and gets back each once', () => {
  const counts = new ClientCounts(2)
  const first = counts.take('2001:db8::1')
  expect(counts.take('2001:db8::2')).toBeDefined()
  expect(counts.take('2001:db8::3')).toBeUndefined()
  expect(counts.take('2001:db8:0:1::1')).toBeDefined()
  first?.()
  first?.()
  expect(counts.take('2001:db8::3')).toBeDefined()
  expect(counts.take('2001:db8::4')).toBeUndefined()
})

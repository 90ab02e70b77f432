import { expect, test } from 'vitest'
import { hostOfPublicAddress, parsePublicAddress } from '../../lib/public-address.ts'

test.each([
  ['edge.example', 'edge.example', 'edge.example'],
  ['https://edge.example/base/', 'edge.example/base', 'edge.example'],
  ['edge.example:8443/a/b', 'edge.example:8443/a/b', 'edge.example'],
  ['192.0.2.7:65535', '192.0.2.7:65535', '192.0.2.7'],
  ['[2001:db8::1]:8080/x', '[2001:db8::1]:8080/x', '[2001:db8::1]'],
])('parsePublicAddress(%j) is %j, on the host %j', (text, address, host) => {
  expect(parsePublicAddress(text)).toBe(address)
  expect(hostOfPublicAddress(address)).toBe(host)
})

test.each([
  '',
  'https://',
  '/base',
  'edge.example:65536',
  'edge.example:0',
  'edge.example:http',
  'user@edge.example',
  'edge.example/?a=1',
  'edge.example#a',
  'edge .example',
  '2001:db8::1',
])('parsePublicAddress() refuses %j', (text) => {
  expect(parsePublicAddress(text)).toBeUndefined()
})

import { expect, test } from 'vitest'
import { parseResolvConf } from '../../../egress/dns/host-servers.ts'

test('resolv.conf: each server once, those of the host itself last, at most ten', () => {
  const text = [
    '# nameserver 192.0.2.1',
    'nameserver 127.0.0.53',
    'search example',
    'nameserver 192.0.2.2',
    'nameserver 192.0.2.2',
    ' nameserver\t2001:db8::1 # comment',
    'nameserver 0.0.0.0',
    'nameserver bogus',
  ].join('\n')
  expect(parseResolvConf(text).map((server) => 'address' in server && server.address)).toEqual([
    '192.0.2.2',
    '2001:db8::1',
    '127.0.0.53',
  ])
  const many = Array.from({ length: 20 }, (_, index) => `nameserver 192.0.2.${index + 1}`).join('\n')
  expect(parseResolvConf(many)).toHaveLength(10)
  expect(parseResolvConf('')).toEqual([])
})

import { expect, test } from 'vitest'
import { parseNameServer, parseResolvConf, readEgressConfig } from '../../egress/config.ts'
import { loadConfig } from '../../lib/config.ts'

test.each([
  ['192.0.2.53', { address: '192.0.2.53', port: 53 }],
  ['192.0.2.53:5353', { address: '192.0.2.53', port: 5353 }],
  ['2001:db8::1', { address: '2001:db8::1', port: 53 }],
  ['[2001:db8::1]', { address: '2001:db8::1', port: 53 }],
  ['[2001:db8::1]:5353', { address: '2001:db8::1', port: 5353 }],
  ['dns.example', undefined],
  ['192.0.2.53:0', undefined],
  ['192.0.2.53:65536', undefined],
  ['[192.0.2.53]:53', undefined],
  ['192.0.2', undefined],
  ['', undefined],
])('a name server %j is %j', (text, server) => {
  expect(parseNameServer(text)).toEqual(server)
})

test('every bad name server of the configuration is named', () => {
  const { config } = loadConfig({
    env: {},
    args: ['--config', 'c.toml'],
    readFile: () => '[egress]\nupstream_dns = ["192.0.2.53", "dns.example", "x:1"]\n',
  })
  expect(() => readEgressConfig(config)).toThrow(/"dns.example"\n.*"x:1"/)
})

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
  expect(parseResolvConf(text).map(({ address }) => address)).toEqual([
    '192.0.2.2',
    '2001:db8::1',
    '127.0.0.53',
  ])
  const many = Array.from({ length: 20 }, (_, index) => `nameserver 192.0.2.${index + 1}`).join('\n')
  expect(parseResolvConf(many)).toHaveLength(10)
  expect(parseResolvConf('')).toEqual([])
})

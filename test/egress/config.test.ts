import { expect, test } from 'vitest'
import { parseResolvConf, readEgressConfig } from '../../egress/config.ts'
import { loadConfig } from '../../lib/config.ts'
import { parseNameServer } from '../../lib/name-server.ts'

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

const load = (servers: string) =>
  loadConfig({
    env: {},
    args: ['--config', 'c.toml'],
    readFile: () => `[egress]\nupstream_dns = [${servers}]\n`,
  })

test('every bad name server of the configuration is named', () => {
  expect(() => load('"192.0.2.53", "dns.example", "x:1", 5')).toThrow(
    /c\.toml:2: "egress\.upstream_dns\[1\]" must be an IP address.*"dns\.example"\n.*\[2\].*"x:1"\n.*\[3\].*is 5/,
  )
})

test('those of the configuration are what egress asks', () => {
  expect(readEgressConfig(load('"192.0.2.53", "[::1]:5353"').config).nameServers).toEqual([
    { address: '192.0.2.53', port: 53 },
    { address: '::1', port: 5353 },
  ])
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

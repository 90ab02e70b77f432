import { expect, test } from 'vitest'
import { readEgressConfig } from '../../egress/config.ts'
import { loadConfig } from '../../lib/config.ts'
import { parseDnsUpstream, parseNameServer } from '../../lib/name-server.ts'

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

test.each([
  ['192.0.2.53', { by: 'udp', address: '192.0.2.53', port: 53 }],
  ['udp://[2001:db8::1]:5353', { by: 'udp', address: '2001:db8::1', port: 5353 }],
  [
    'tls://1.1.1.1#Cloudflare-DNS.com',
    { by: 'tls', address: '1.1.1.1', port: 853, serverName: 'cloudflare-dns.com' },
  ],
  ['tls://1.1.1.1:8853', { by: 'tls', address: '1.1.1.1', port: 8853, serverName: '1.1.1.1' }],
  ['https://dns.example/dns-query', { by: 'https', url: 'https://dns.example/dns-query' }],
  ['tls://dns.example', undefined],
  ['tls://1.1.1.1#a b', undefined],
  ['https://user:word@dns.example/', undefined],
  ['https://dns.example/?dns=', undefined],
  ['http://dns.example/', undefined],
  ['quic://1.1.1.1', undefined],
])('an upstream %j is %j', (text, upstream) => {
  expect(parseDnsUpstream(text)).toEqual(upstream)
})

test('what egress does beside filtering can be said, and has defaults', () => {
  const read = (toml: string) =>
    readEgressConfig(loadConfig({ env: {}, args: ['--config', 'c.toml'], readFile: () => toml }).config)
      .services
  expect(read('')).toMatchObject({
    allowEch: false,
    proxyPort: 3128,
    dnsLimits: {
      queriesPerSecond: 100,
      burst: 500,
      namesPerZonePerMinute: 300,
      encodedNamesPerZonePerMinute: 30,
      textPerMinute: 60,
    },
  })
  expect(read('')).not.toHaveProperty('denyWebhook')
  expect(read('')).toMatchObject({ vaultPorts: [80, 443], vaultRequiresTls: false, hostPins: new Map() })
  expect(read('[egress]\nvault_require_tls = true\n')).toMatchObject({ vaultRequiresTls: true })
  const pinned = read('[egress]\nvault_ports = [443, 8443]\nhost_pins = ["API.test.=192.0.2.5"]\n')
  expect(pinned).toMatchObject({ vaultPorts: [443, 8443], hostPins: new Map([['api.test', '192.0.2.5']]) })
  for (const wrong of [
    '"a.test"',
    '"a.test=::1"',
    '"a_.*=192.0.2.5"',
    '"a.test=192.0.2.5", "A.test=192.0.2.6"',
  ])
    expect(() => read(`[egress]\nhost_pins = [${wrong}]\n`)).toThrow(/host_pins\[\d\]" must be a name/)
  for (const wrong of ['', '0', '"x"', '65536'])
    expect(() => read(`[egress]\nvault_ports = [${wrong}]\n`)).toThrow('vault_ports')
  const services = read(
    '[egress]\nallow_ech = true\n[egress.proxy]\nenabled = false\n[egress.deny_webhook]\nurl = "https://hook.example/x"\nsecret = "s"\n[egress.dns_limits]\nburst = 7\n',
  )
  expect(services).toMatchObject({
    allowEch: true,
    denyWebhook: { url: 'https://hook.example/x', secret: 's' },
  })
  expect(services.dnsLimits.burst).toBe(7)
  expect(services).not.toHaveProperty('proxyPort')
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
    { by: 'udp', address: '192.0.2.53', port: 53 },
    { by: 'udp', address: '::1', port: 5353 },
  ])
})

import { expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../../lib/config.ts'

const load = (toml: string) =>
  loadConfig({ env: {}, args: ['--config', '/c.toml'], readFile: () => toml }).config.front

function problemsOf(toml: string): string[] {
  try {
    load(toml)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

test('nobody before the gateway is believed, and nothing is encrypted, unless it is said', () => {
  expect(load('')).toEqual({
    processes: 1,
    drainMs: 3000,
    drainNoticeMs: 0,
    trustedProxies: [],
    proxyProtocol: [],
    limits: {
      connections: 16_384,
      connectionsPerClient: 1024,
      connectionsPerSandbox: 1024,
      headTimeoutMs: 10_000,
      idleTimeoutMs: 100_000,
    },
    customDomains: [],
  })
})

test('all of it can be said', () => {
  const toml = `[front]
processes = 2
trusted_proxies = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]
custom_domains = ["*.Apps.example", "one.example"]
[front.tls]
port = 8443
[[front.tls.certificates]]
certificate = "/c.pem"
key = "/k.pem"
`
  expect(load(toml)).toMatchObject({
    processes: 2,
    trustedProxies: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'],
    customDomains: ['*.apps.example', 'one.example'],
    tls: { port: 8443, certificates: [{ certificate: '/c.pem', key: '/k.pem' }] },
  })
})

test.each([
  ['[front]\ntrusted_proxies = ["10.0.0.0/33"]', 'trusted_proxies[0]" must be an IP address or a range'],
  ['[front]\ntrusted_proxies = ["proxy.example"]', 'but it is "proxy.example"'],
  ['[front]\nproxy_protocol = ["1.2.3.4/8/8"]', 'must be an IP address or a range'],
  ['[front]\nprocesses = 0', '"front.processes" must be an integer from 1 to 64, but it is 0'],
  ['[front]\ncustom_domains = ["a b"]', 'custom_domains[0]" must be "*", a name'],
  ['[front]\ncustom_domains = ["*.*.example"]', 'custom_domains[0]" must be "*", a name'],
  ['[[front.tls.certificates]]\ncertificate = "/c"', 'needs "key"'],
  ['[[front.tls.certificates]]\ncertificate = "/c"\nkey = "/k"', 'needs front.tls.port beside it'],
  ['[front.tls]\nport = 8080', 'must be another port than server.port, but it is 8080'],
])('%j is refused', (toml, said) => {
  expect(problemsOf(toml).join('\n')).toContain(said)
})

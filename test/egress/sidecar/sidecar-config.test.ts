import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readSidecarConfig } from '../../../egress/sidecar/sidecar-config.ts'
import { ConfigError } from '../../../lib/config.ts'

const read = (settings: Record<string, string>) =>
  readSidecarConfig(
    Object.fromEntries(
      Object.entries(settings).map(([name, value]) => [`OPENSANDBOX_EGRESS_${name}`, value]),
    ),
  )
const problemsOf = (settings: Record<string, string>): string => {
  try {
    read(settings)
    return ''
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
}

test('without an environment nothing is allowed and nobody may ask', () => {
  expect(readSidecarConfig({ PATH: '/bin' })).toEqual({
    sandboxId: 'pod',
    listen: { host: '0.0.0.0', port: 18_080 },
    credentialProxy: false,
    extraPorts: [],
    nameServers: [],
    alwaysDeny: [],
    trustDir: '/opt/opensandbox',
    warnings: [expect.stringContaining('OPENSANDBOX_EGRESS_TOKEN is not set')],
  })
})

test('what the contract names is taken', () => {
  expect(
    read({
      RULES: '{"egress":[{"action":"allow","target":"a.example"}]}',
      MODE: 'nft+dns',
      HTTP_ADDR: '127.0.0.1:9000',
      TOKEN: 'token',
      POLICY_FILE: '/state/policy.json',
      LOG_LEVEL: 'DEBUG',
      SANDBOX_ID: 'sandbox-1',
      DNS_UPSTREAM: '192.0.2.1, [2001:db8::1]:5353',
      MITMPROXY_TRANSPARENT: 'Yes',
      MITMPROXY_EXTRA_PORTS: '8443,9443',
      MITMPROXY_UPSTREAM_EXTRA_CA: '/etc/ca.pem',
      BLOCK_DOH_443: '1',
      DOH_BLOCKLIST: '1.1.1.1, 8.8.8.0/24',
      UPSTREAM_PROXY: '',
    }),
  ).toEqual({
    sandboxId: 'sandbox-1',
    token: 'token',
    listen: { host: '127.0.0.1', port: 9000 },
    policy: { defaultAction: 'deny', egress: [{ action: 'allow', target: 'a.example' }] },
    policyFile: '/state/policy.json',
    logLevel: 'debug',
    credentialProxy: true,
    extraPorts: [8443, 9443],
    upstreamCaFile: '/etc/ca.pem',
    nameServers: [
      { by: 'udp', address: '192.0.2.1', port: 53 },
      { by: 'udp', address: '2001:db8::1', port: 5353 },
    ],
    alwaysDeny: ['1.1.1.1', '8.8.8.0/24'],
    trustDir: '/opt/opensandbox',
    warnings: [],
  })
})

test.each([
  ['MAX_RULES', '10', 'a policy may have 4096 rules'],
  ['NAMESERVER_EXEMPT', '192.0.2.1', 'every question is answered here'],
  ['REDIRECT_BACKEND', 'iptables', 'packets are led by nftables'],
])('%s "%s" is said to have no effect', (name, value, warning) => {
  expect(read({ TOKEN: 'token', [name]: value }).warnings).toEqual([expect.stringContaining(warning)])
})

test('B5: a mode that filters names alone filters packets all the same', () => {
  const { warnings } = read({ TOKEN: 'token', MODE: 'dns' })
  expect(warnings).toEqual([expect.stringContaining('packets are filtered all the same')])
})

test.each([
  ['B8: a mode that is not one', 'MODE', 'dns+nftables', '"dns+nft" or "dns"'],
  ['B8: a mode without names', 'MODE', 'nft', '"dns+nft" or "dns"'],
  ['rules that are no JSON', 'RULES', '{', 'must be a policy in JSON'],
  ['B9: a default action that is not one', 'RULES', '{"defaultAction":"block"}', 'RULES: defaultAction'],
  ['an address without a port', 'HTTP_ADDR', '127.0.0.1', '":port"'],
  ['a port that is none', 'HTTP_ADDR', ':65536', '":port"'],
  ['an id that cannot be a name', 'SANDBOX_ID', 'A B', '1 to 63 of a-z'],
  ['a level that is not one', 'LOG_LEVEL', 'loud', 'one of debug, info, warn, error'],
  ['a name server by its name', 'DNS_UPSTREAM', 'dns.example', 'a list of addresses'],
  ['a port that is no number', 'MITMPROXY_EXTRA_PORTS', '80x', 'a list of at most 15 ports'],
  ['a file that is not found from anywhere', 'POLICY_FILE', 'policy.json', 'an absolute path'],
  [
    'certificates that are not checked',
    'MITMPROXY_SSL_INSECURE',
    'true',
    'a server that has proved its name',
  ],
  ['a proxy that would not be used', 'UPSTREAM_PROXY', 'http://proxy.example', 'without a proxy'],
  ['secrets by TLS alone', 'CREDENTIAL_VAULT_REQUIRE_TLS', 'on', 'served in the clear'],
  ['everything closed to 443', 'BLOCK_DOH_443', 'on', 'needs addresses'],
  ['a setting that nobody knows', 'RULE', '{}', 'There is no setting OPENSANDBOX_EGRESS_RULE'],
])('%s is refused', (_, name, value, problem) => {
  expect(problemsOf({ [name]: value })).toContain(problem)
})

test('the pod of the examples says what is taken', () => {
  const pod = readFileSync(
    join(import.meta.dirname, '../../../examples/kubernetes/pod-with-egress.yaml'),
    'utf8',
  )
  const [, rules = ''] = /OPENSANDBOX_EGRESS_RULES\n\s+value: \|\n([\s\S]+?)\n\s+#/.exec(pod) ?? []
  const names = [...pod.matchAll(/name: OPENSANDBOX_EGRESS_(\w+)/g)].map(([, name = '']) => name)
  const values = [...pod.matchAll(/name: OPENSANDBOX_EGRESS_(\w+), value: "?([^"\s}]+)/g)]
  const given = Object.fromEntries(values.map(([, name = '', value = '']) => [name, value]))
  expect(names.sort()).toEqual([...Object.keys(given), 'RULES', 'TOKEN'].sort())
  const { policy, credentialProxy, warnings } = read({ ...given, TOKEN: 'token', RULES: rules })
  expect([policy?.egress.length, credentialProxy, warnings]).toEqual([2, true, []])
})

test('all that is wrong is said at once', () => {
  const problems = problemsOf({ MODE: 'x', LOG_LEVEL: 'y', HTTP_ADDR: 'z' })
  for (const name of ['MODE', 'LOG_LEVEL', 'HTTP_ADDR'])
    expect(problems).toContain(`OPENSANDBOX_EGRESS_${name}`)
})

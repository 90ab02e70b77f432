import { expect, test } from 'vitest'
import type { Resolution } from '../../../egress/dns/resolve.ts'
import { parseRange } from '../../../egress/policy/addresses.ts'
import { chooseServer } from '../../../egress/proxy/choose-server.ts'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import { createFakeKernel } from '../fake-kernel.ts'

const GOOD = '198.51.100.1'
const OWN = '203.0.113.9'

async function setup(
  policy: NetworkPolicy,
  answer: Partial<Resolution> = { addresses: [GOOD] },
  more: { credentialProxy?: boolean } = {},
) {
  const sandboxes = createFakeKernel().open()
  const registration = { address: '10.88.0.5', interface: 'osbab12aa', token: 'a-token-that-is-long' }
  await sandboxes.register('sb', { ...registration, ...more, policy })
  return async (host: string, port = 443) =>
    chooseServer(
      {
        sandboxes,
        subnet: parseRange('10.88.0.0/16'),
        isOwn: (address) => address === OWN,
        readPorts: [443, 8443],
        resolve: async (sandbox, { name }) => {
          const resolution = { rcode: 0, answers: [], addresses: [], ...answer }
          await sandboxes.learn(sandbox, name, resolution.addresses, 60)
          return resolution
        },
      },
      'sb',
      { host, port },
    )
}
const rules = (defaultAction: 'allow' | 'deny', ...egress: NetworkPolicy['egress']): NetworkPolicy => ({
  defaultAction,
  egress,
})
const allow = (target: string) => ({ action: 'allow' as const, target })
const deny = (target: string) => ({ action: 'deny' as const, target })

test('an allowed name goes to an address that was answered for it, and what is said there is checked', async () => {
  const choose = await setup(rules('deny', allow('good.example')))
  expect(await choose('GOOD.example.')).toEqual({
    address: GOOD,
    port: 443,
    name: 'good.example',
    isOpen: false,
  })
})

test.each([
  [443, false],
  [80, false],
  [8443, false],
  [9443, true],
])(
  'C1: where everything is open, what goes to port %i may be for a secret: it is open unread: %j',
  async (port, isOpen) => {
    const choose = await setup(rules('allow', allow('good.example')), undefined, { credentialProxy: true })
    expect(await choose('good.example', port)).toMatchObject({ isOpen })
  },
)

test('C1: what may be for a secret at another port is read of sandboxes that trust who reads it, and of no others', async () => {
  const choose = await setup(rules('allow', deny('bad.example')))
  expect(await choose('good.example', 8443)).toMatchObject({ isOpen: true })
})

test.each([
  ['another name', 'bad.example', 443, 'no rule matches'],
  ['an address of that name', GOOD, 443, 'no rule covers the address'],
  ['DNS', 'good.example', 53, 'port 53 is closed'],
  ['DNS over TLS', 'good.example', 853, 'port 853 is closed'],
  ['IPv6', '2001:db8::1', 443, 'the proxy leads to no IPv6 address'],
  ['another sandbox', '10.88.0.6', 80, 'addresses of sandboxes are closed'],
  ['the gateway', '10.88.0.1', 3128, 'addresses of sandboxes are closed'],
  ['the loopback address', '127.0.0.1', 80, 'leads to this machine itself'],
  ['the unspecified address', '0.0.0.0', 80, 'leads to this machine itself'],
  ['the metadata service', '169.254.169.254', 80, 'closed (link-local)'],
  ['this machine', OWN, 22, 'is this machine itself'],
])('%s is denied', async (_, host, port, problem) => {
  const choose = await setup(rules('deny', allow('good.example')))
  expect(await choose(host, port)).toMatchObject({
    kind: 'denied',
    problem: expect.stringContaining(problem),
  })
})

test.each(['127.1', '2130706433', '0x7f.1', 'a b', 'good.example:80'])('%s is no name', async (host) => {
  const choose = await setup(rules('allow'))
  expect(await choose(host)).toMatchObject({ kind: 'malformed' })
})

test('no range opens sandboxes, the loopback address, or this machine; a rule for it alone opens it', async () => {
  const everything = await setup(rules('allow', allow('0.0.0.0/0')))
  for (const host of ['10.88.0.6', '127.0.0.1', '0.0.0.0', OWN])
    expect(await everything(host)).toMatchObject({ kind: 'denied' })
  const alone = await setup(rules('deny', allow(OWN)))
  expect(await alone(OWN)).toEqual({ address: OWN, port: 443, isOpen: true })
})

test('a name that leads to what is closed opens nothing, whatever the default is', async () => {
  for (const address of ['10.88.0.6', '127.0.0.1', OWN, '169.254.169.254'])
    for (const policy of [rules('allow'), rules('deny', allow('good.example'))]) {
      const choose = await setup(policy, { addresses: [address] })
      expect(await choose('good.example')).toMatchObject({ kind: 'denied', name: 'good.example' })
    }
})

test('what a rule opens by its address is open to every protocol, and so is everything by default', async () => {
  const byRule = await setup(rules('deny', allow('good.example'), allow(GOOD)))
  expect(await byRule(GOOD, 22)).toEqual({ address: GOOD, port: 22, isOpen: true })
  expect(await byRule('good.example', 22)).toMatchObject({ isOpen: true })
  const byDefault = await setup(rules('allow'))
  expect(await byDefault('any.example', 22)).toMatchObject({
    address: GOOD,
    name: 'any.example',
    isOpen: true,
  })
})

test('where names are denied, those that are said on the wire are checked', async () => {
  const choose = await setup(rules('allow', deny('bad.example')))
  expect(await choose('bad.example')).toMatchObject({ kind: 'denied', rule: 'bad.example' })
  expect(await choose(GOOD, 443)).toMatchObject({ isOpen: false })
  expect(await choose('any.example', 80)).toMatchObject({ isOpen: false })
  expect(await choose(GOOD, 22)).toMatchObject({ isOpen: true })
})

test('a rule for other ports of an address does not keep what is said at this one from being checked', async () => {
  const choose = await setup(
    rules(
      'allow',
      deny('bad.example'),
      { ...allow(GOOD), ports: ['8080'] },
      { ...deny(GOOD), ports: ['25'] },
    ),
  )
  expect(await choose(GOOD, 443)).toMatchObject({ isOpen: false })
  expect(await choose('any.example', 443)).toMatchObject({ isOpen: false })
  const open = await setup(rules('allow', deny('bad.example'), { ...allow(GOOD), ports: ['443'] }))
  expect(await open(GOOD, 443)).toMatchObject({ isOpen: true })
})

test('a port that no rule of the name opens is denied', async () => {
  const choose = await setup(rules('deny', { ...allow('good.example'), ports: ['443'] }))
  expect(await choose('good.example', 443)).toMatchObject({ address: GOOD })
  expect(await choose('good.example', 22)).toMatchObject({ kind: 'denied' })
})

test('a name that is not found, or is not asked for, is said to be so', async () => {
  const none = await setup(rules('allow'), { addresses: [] })
  expect(await none('good.example')).toMatchObject({ kind: 'unresolved' })
  const limited = await setup(rules('allow'), { addresses: [], blocked: 'more than 100 questions a second' })
  expect(await limited('good.example')).toMatchObject({
    kind: 'denied',
    problem: 'more than 100 questions a second',
  })
})

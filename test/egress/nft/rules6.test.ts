import { describe, expect, test } from 'vitest'
import { formatPolicy } from '../../../egress/nft/policy-rules.ts'
import {
  type BaseRules,
  formatAdd,
  formatLearn,
  formatRemove,
  formatTable,
  parseLearnedSet,
} from '../../../egress/nft/rules.ts'
import { compilePolicy } from '../../../egress/policy/compile.ts'
import { checkNetworkPolicy } from '../../../lib/api/network-policy.ts'

const without: BaseRules = {
  table: 't',
  interfacePrefix: 'osb',
  subnet: '10.88.0.0/16',
  gateway: '10.88.0.1',
  dnsPort: 53,
  relayPort: 3129,
  mark: 7,
}
const base: BaseRules = {
  ...without,
  ipv6: { subnet: 'fd00:1::/64', gateway: 'fd00:1::a58:1', dnsPort: 54, relayPort: 3130 },
}
const place = { id: 'sb-1', address: '10.88.0.5', address6: 'fd00:1::a58:5', interface: 'osbaa' }

function policy(value: unknown) {
  const checked = checkNetworkPolicy(value)
  if (!('policy' in checked)) throw new Error(checked.message)
  return compilePolicy(checked.policy)
}
const rulesOf = (value: unknown, chain: string, from = base) =>
  formatPolicy(from, { id: 'sb-1', policy: policy(value), learned: [] })
    .split('\n')
    .filter((line) => line.startsWith(`add rule inet t ${chain}-sb-1 `))
    .map((line) => line.slice(`add rule inet t ${chain}-sb-1 `.length).replace('goto pass-sb-1', 'pass'))
const RELAY = 'tproxy ip6 to [::1]:3130 meta mark set 7 accept'

describe('N2: the rules of a sandbox with IPv6', () => {
  const egress = [
    { action: 'allow', target: 'a.example', ports: [443] },
    { action: 'allow', target: '2001:db8::/32', protocol: 'icmp' },
    { action: 'allow', target: '2001:db8::7', protocol: 'tcp', ports: [22] },
    { action: 'deny', target: '2001:db8::9' },
  ]

  test('are as those of IPv4, in the same order', () => {
    expect(rulesOf({ egress }, 'forward')).toEqual([
      'ip6 daddr { 2001:db8::9 } goto refuse',
      'ip6 daddr { 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff } meta l4proto icmpv6 pass',
      'ip6 daddr { 2001:db8::7 } tcp dport { 22 } pass',
      'ip daddr @closed goto refuse',
      'ip6 daddr @closed6 goto refuse',
      'goto refuse',
    ])
    expect(rulesOf({ egress }, 'divert').slice(-2)).toEqual([
      'ip daddr @learned-sb-1 tcp dport { 443 } tproxy ip to 127.0.0.1:3129 meta mark set 7 accept',
      `ip6 daddr @learned6-sb-1 tcp dport { 443 } ${RELAY}`,
    ])
    expect(rulesOf({ egress }, 'input')[1]).toMatch(/^ip6 daddr \{ 2001:db8::7 \} tcp dport \{ 22 \} /)
  })

  test('are led to the relay where everything is open but a name', () => {
    const named = { defaultAction: 'allow', egress: [{ action: 'deny', target: 'b.example' }] }
    expect(rulesOf(named, 'divert')).toEqual([
      'ip daddr @closed accept',
      'ip6 daddr @closed6 accept',
      'tcp dport { 80, 443 } tproxy ip to 127.0.0.1:3129 meta mark set 7 accept',
      `tcp dport { 80, 443 } ${RELAY}`,
    ])
  })

  test('say of the ways to IPv4 addresses what is said of these', () => {
    expect(
      rulesOf({ egress: [{ action: 'deny', target: '10.1.2.3', protocol: 'icmp' }] }, 'forward')[1],
    ).toBe(
      'ip6 daddr { 64:ff9b::a01:203, 2002:a01:203::-2002:a01:203:ffff:ffff:ffff:ffff:ffff } meta l4proto icmpv6 goto refuse',
    )
  })

  test('are none where sandboxes have no IPv6', () => {
    expect(formatPolicy(without, { id: 'sb-1', policy: policy({ egress }), learned: [] })).not.toMatch(
      /ip6|v6/,
    )
    expect(rulesOf({ egress }, 'forward', without)).toEqual(['ip daddr @closed goto refuse', 'goto refuse'])
  })
})

test('N2: each kind of address is learned in a set of its own', () => {
  const learned = [
    { address: '198.51.100.1', seconds: 60 },
    { address: '2001:db8::1', seconds: 70 },
  ]
  const text = formatPolicy(base, { id: 'sb-1', policy: policy({}), learned })
  expect(text).toContain('add element inet t learned-sb-1 { 198.51.100.1 timeout 60s }')
  expect(text).toContain('add element inet t learned6-sb-1 { 2001:db8::1 timeout 70s }')
  expect(formatLearn(base, 'sb-1', learned)).toBe(
    'add element inet t learned-sb-1 { 198.51.100.1 timeout 60s }\n' +
      'add element inet t learned6-sb-1 { 2001:db8::1 timeout 70s }\n',
  )
  // Learned while there was IPv6, by an egress that was started again without.
  expect(formatPolicy(without, { id: 'sb-1', policy: policy({}), learned })).not.toContain('2001')
  expect(['learned-a', 'learned6-a', 'refused6'].map(parseLearnedSet)).toEqual(['a', 'a', undefined])
})

test('N2: a sandbox is registered and removed with both addresses', () => {
  const sandbox = { ...place, policy: policy({}), learned: [] }
  expect(formatAdd(base, sandbox)).toContain('add element inet t registered6 { "osbaa" . fd00:1::a58:5 }')
  const removed = formatRemove(base, place).split('\n')
  expect(removed[1]).toBe('delete element inet t registered6 { "osbaa" . fd00:1::a58:5 }')
  expect(removed).toContain('delete set inet t learned6-sb-1')
})

test('N2: what comes by IPv6 is dropped at once without it, and with it what nobody could judge', () => {
  expect(formatTable(without, [])).toContain('iifname "osb*" meta nfproto != ipv4 drop')
  expect(formatTable(without, [])).not.toMatch(/ip6|v6/)
  const text = formatTable(base, [])
  expect(text).toContain('iifname "osb*" meta nfproto ipv6 goto raw6')
  expect(text).toContain('iifname . ip6 saddr != @registered6 goto spoofing6')
  expect(text).toContain('ip6 nexthdr { 0, 43, 44, 51, 60, 135, 139, 140 } goto lost')
  expect(text).toContain('ip6 saddr fd00:1::/64 oifname != "osb*" masquerade')
})

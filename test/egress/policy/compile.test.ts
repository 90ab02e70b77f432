import { describe, expect, test } from 'vitest'
import { compilePolicy, NO_FLOOR } from '../../../egress/policy/compile.ts'
import { decideAddress, decideName, mayAnswer } from '../../../egress/policy/decide.ts'
import { checkNetworkPolicy } from '../../../lib/api/network-policy.ts'
import { ruleSetsOf } from '../../../lib/rule-sets.ts'

function compile(value: unknown, { sets = ruleSetsOf(), floor = NO_FLOOR } = {}) {
  const checked = checkNetworkPolicy(value)
  if (!('policy' in checked)) throw new Error(checked.message)
  return compilePolicy(checked.policy, floor, sets)
}
const tcp = (port: number) => ({ protocol: 'tcp', port })

describe('N9: names with ports', () => {
  const policy = compile({
    egress: [
      { action: 'deny', target: 'db.example', ports: ['5432'] },
      { action: 'allow', target: '*.example', ports: ['443', '5432'] },
      { action: 'deny', target: 'old.test', protocol: 'tcp' },
      { action: 'allow', target: '*.test' },
    ],
  })
  test.each([
    ['db.example', undefined, 'allow', '*.example'],
    ['db.example', 443, 'allow', '*.example'],
    ['db.example', 5432, 'deny', 'db.example'],
    ['db.example', 80, 'deny', undefined],
    ['a.example', 5432, 'allow', '*.example'],
    ['old.test', undefined, 'deny', 'old.test'],
    ['old.test', 443, 'deny', 'old.test'],
    ['new.test', 22, 'allow', '*.test'],
  ])('%s at %s: %s by %s', (name, port, action, rule) => {
    const decision = decideName(policy, name, port === undefined ? undefined : tcp(port))
    expect([decision.action, decision.rule]).toEqual([action, rule])
  })

  test('the ports that names open are those of all rules together, or every one', () => {
    expect(policy.namePorts).toBeUndefined()
    expect(
      compile({ egress: [{ action: 'allow', target: 'a.example', ports: [81, '80', '443-500'] }] }).namePorts,
    ).toEqual([
      { first: 80, last: 81 },
      { first: 443, last: 500 },
    ])
  })
})

describe('N9: addresses with ports and protocols', () => {
  const policy = compile({
    egress: [
      { action: 'allow', target: '10.0.0.0/8', protocol: 'tcp', ports: ['443'] },
      { action: 'allow', target: '198.51.100.7', protocol: 'icmp' },
      { action: 'deny', target: '10.0.0.9', ports: ['443'] },
      { action: 'allow', target: '192.0.2.1' },
    ],
  })
  test.each([
    ['10.0.0.1', 'tcp', 443, 'allow', 'an allow rule covers the address (tcp 443)'],
    ['10.0.0.1', 'tcp', 80, 'deny', 'the address is closed (private) and no rule opens it'],
    ['10.0.0.1', 'udp', 443, 'deny', 'the address is closed (private) and no rule opens it'],
    ['10.0.0.9', 'tcp', 443, 'deny', 'a deny rule covers the address (port 443)'],
    ['198.51.100.7', 'icmp', 0, 'allow', 'an allow rule covers the address (icmp)'],
    ['198.51.100.7', 'tcp', 443, 'deny', 'no rule covers the address: default action'],
    ['192.0.2.1', 'sctp', 5, 'allow', 'an allow rule covers the address'],
  ])('%s %s %s: %s', (address, protocol, port, action, reason) => {
    expect(decideAddress(policy, address, { learned: false, endpoint: { protocol, port } })).toEqual({
      action,
      reason,
    })
  })
})

describe('O15: sets', () => {
  const sets = new Map([
    ['ours', ['git.corp.example', '*.cdn.example', '10.20.0.0/16']],
    ['bad', ['bad.example', '203.0.113.0/24']],
  ])

  test('a rule for a set is one for each of its targets, and is told as the set', () => {
    const policy = compile({ egress: [{ action: 'allow', target: 'SET:ours', ports: [443] }] }, { sets })
    expect(decideName(policy, 'x.cdn.example', tcp(443))).toEqual({
      action: 'allow',
      reason: 'rule 0',
      rule: 'SET:ours',
    })
    expect(decideName(policy, 'git.corp.example', tcp(22)).action).toBe('deny')
    expect(decideAddress(policy, '10.20.1.1', { learned: false, endpoint: tcp(443) }).action).toBe('allow')
  })

  test('a set that has gone opens nothing, and where it was denied, everything is', () => {
    const egress = [
      { action: 'allow', target: 'first.example' },
      { action: 'deny', target: 'set:gone' },
      { action: 'allow', target: 'later.example' },
      { action: 'allow', target: 'set:lost' },
      { action: 'allow', target: '192.0.2.1' },
    ]
    const policy = compile({ defaultAction: 'allow', egress }, { sets })
    const actionOf = (name: string) => decideName(policy, name).action
    expect([actionOf('first.example'), actionOf('later.example'), actionOf('other.example')]).toEqual([
      'allow',
      'deny',
      'deny',
    ])
    expect(decideAddress(policy, '192.0.2.1', { learned: true }).action).toBe('deny')
    expect(policy.missingSets).toEqual(['gone', 'lost'])
    expect(compile({ egress: [{ action: 'allow', target: 'set:bad' }] }, { sets }).missingSets).toEqual([])
  })

  test('those that come with the product can be read, and the operator’s replace them', () => {
    const every = [...ruleSetsOf().keys()].map((name) => ({ action: 'allow', target: `set:${name}` }))
    expect(decideName(compile({ egress: every }), 'files.pythonhosted.org').action).toBe('allow')
    expect(ruleSetsOf({ pypi: ['mirror.example'] }).get('pypi')).toEqual(['mirror.example'])
  })
})

describe('addresses of IPv6', () => {
  const policy = compile({
    defaultAction: 'allow',
    egress: [
      { action: 'allow', target: '2001:db8:1::/48', protocol: 'icmp' },
      { action: 'allow', target: 'fd00:1::/32', ports: [443] },
      { action: 'allow', target: '10.1.2.3' },
      { action: 'deny', target: '2001:db8:2::/48' },
      { action: 'deny', target: '198.51.100.0/24' },
      { action: 'deny', target: '64:ff9b::cb00:7100/120' },
    ],
  })
  test.each([
    ['2001:db8:3::1', 'tcp', 443, 'allow', 'no rule covers the address: default action'],
    ['2001:db8:2::1', 'tcp', 443, 'deny', 'a deny rule covers the address'],
    ['2001:db8:1::1', 'icmp', 0, 'allow', 'an allow rule covers the address (icmp)'],
    ['fd00:1::1', 'tcp', 443, 'allow', 'an allow rule covers the address (port 443)'],
    ['fd00:1::1', 'tcp', 80, 'deny', 'the address is closed (private) and no rule opens it'],
    // By a translator, what is said of IPv4 addresses.
    ['64:ff9b::a01:203', 'tcp', 80, 'allow', 'an allow rule covers the address'],
    [
      '64:ff9b::a01:204',
      'tcp',
      80,
      'deny',
      'the address is closed (NAT64 10.1.2.4: private) and no rule opens it',
    ],
    ['64:ff9b::c633:6401', 'udp', 80, 'deny', 'a deny rule covers the address'],
    ['2002:c633:6401::1', 'udp', 80, 'deny', 'a deny rule covers the address'],
    ['64:ff9b::cb00:7101', 'tcp', 80, 'deny', 'a deny rule covers the address'],
    ['2002:cb00:7101::1', 'tcp', 80, 'allow', 'no rule covers the address: default action'],
    ['::ffff:8.8.8.8', 'tcp', 80, 'deny', 'the address is closed (mapped 8.8.8.8) and no rule opens it'],
    ['fd00:ec2::254', 'tcp', 80, 'deny', 'the address is closed (metadata) and no rule opens it'],
  ])('N2: %s by %s %s: %s, as %s', (address, protocol, port, action, reason) => {
    const endpoint = { protocol, port }
    expect(decideAddress(policy, address, { learned: false, endpoint })).toEqual({ action, reason })
  })

  test('N2: a name opens no closed address, whichever kind it is of', () => {
    const named = compile({
      egress: [
        { action: 'allow', target: 'a.example' },
        { action: 'allow', target: 'fd00:7::/32' },
      ],
    })
    const open = [
      '2001:db8::1',
      'fd00:7::1',
      '64:ff9b::808:808',
      '10.0.0.1',
      'fd00:8::1',
      '64:ff9b::a00:1',
      '::1',
    ]
    expect(open.map((address) => mayAnswer(named, address))).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
      false,
    ])
  })

  test('N2: a deny rule for a set that is not there closes both kinds', () => {
    const { layers } = compile({ defaultAction: 'allow', egress: [{ action: 'deny', target: 'set:gone' }] })
    expect(layers[0]).toMatchObject({
      ranges: [{ first: 0 }],
      ranges6: [{ first: 0n, last: 2n ** 128n - 1n }],
    })
  })
})

import { describe, expect, test } from 'vitest'
import {
  checkNetworkPolicy,
  checkNetworkRules,
  formatPolicyProblem,
  MAX_POLICY_RULES,
  parseTarget,
} from '../../lib/api/network-policy.ts'

const name = (text: string) => ({ kind: 'name', name: text, wildcard: false })
const below = (text: string) => ({ kind: 'name', name: text, wildcard: true })
const range = (first: number, prefix: number) => ({ kind: 'range4', first, prefix })

test.each([
  ['example.com', name('example.com')],
  ['Example.COM', name('example.com')],
  ['example.com.', name('example.com')],
  ['  example.com ', name('example.com')],
  ['*.example.com', below('example.com')],
  ['*.com', below('com')],
  ['localhost', name('localhost')],
  ['_dmarc.example.com', name('_dmarc.example.com')],
  ['1password.com', name('1password.com')],
  ['xn--bcher-kva.example', name('xn--bcher-kva.example')],
  ['bücher.example', name('xn--bcher-kva.example')],
  ['BÜCHER.example', name('xn--bcher-kva.example')],
  ['10.1.2.3', range(0x0a010203, 32)],
  ['10.1.2.3/8', range(0x0a000000, 8)],
  ['0.0.0.0/0', range(0, 0)],
  ['255.255.255.255/32', range(0xffffffff, 32)],
  ['128.0.0.0/1', range(0x80000000, 1)],
  ['::ffff:10.0.0.1', range(0x0a000001, 32)],
  ['::ffff:10.0.0.0/104', range(0x0a000000, 8)],
  ['2001:db8::1', { kind: 'range6', first: (0x20010db8n << 96n) | 1n, prefix: 128 }],
  ['2001:DB8:0::7/32', { kind: 'range6', first: 0x20010db8n << 96n, prefix: 32 }],
  ['::/0', { kind: 'range6', first: 0n, prefix: 0 }],
])('parseTarget() reads %j', (text, target) => {
  expect(parseTarget(text)).toEqual(target)
})

test.each([
  ['', 'is empty'],
  ['   ', 'is empty'],
  ['*', 'has a "*"'],
  ['*foo.com', 'has a "*"'],
  ['a.*.com', 'has a "*"'],
  ['*.*.com', 'has a "*"'],
  ['*.', 'is not a host name'],
  ['.', 'is not a host name'],
  ['a..b', 'label "" is not allowed'],
  ['.example.com', 'label "" is not allowed'],
  ['-a.com', 'label "-a" is not allowed'],
  ['a-.com', 'label "a-" is not allowed'],
  ['a b', 'label "a b" is not allowed'],
  ['https://example.com', 'is not a CIDR range'],
  ['example.com:443', 'label "com:443" is not allowed'],
  ['example.com/24', 'is not a CIDR range'],
  [`${'a'.repeat(64)}.com`, 'is not allowed'],
  [`${'a.'.repeat(127)}com`, 'longer than the 253'],
  ['a'.repeat(513), 'longer than 512'],
  ['300.1.1.1', 'neither a complete IPv4 address'],
  ['300.1.1.1/8', 'is not a CIDR range'],
  ['10.1.2', 'neither a complete IPv4 address'],
  ['010.0.0.1', 'neither a complete IPv4 address'],
  ['0x7f.1', 'neither a complete IPv4 address'],
  ['example.0x7f', 'neither a complete IPv4 address'],
  ['2130706433', 'neither a complete IPv4 address'],
  ['10.0.0.0/33', 'prefix length outside of 0 to 32'],
  ['10.0.0.0/', 'prefix length outside'],
  ['10.0.0.0/8/8', 'prefix length outside'],
  ['10.0.0.0/-1', 'prefix length outside'],
  ['::/129', 'prefix length outside of 0 to 128'],
  ['fe80::1%eth0', 'is not allowed'],
  ['ex\u0000ample.com', 'is not allowed'],
  ['exa\u202emple.com', 'is not a host name'],
])('parseTarget() refuses %j', (text, why) => {
  expect(parseTarget(text)).toEqual({ problem: expect.stringContaining(why) })
})

describe('checkNetworkPolicy()', () => {
  test.each([
    [null, { defaultAction: 'deny', egress: [] }],
    [undefined, { defaultAction: 'deny', egress: [] }],
    [{}, { defaultAction: 'deny', egress: [] }],
    [{ defaultAction: '' }, { defaultAction: 'deny', egress: [] }],
    [
      { defaultAction: null, egress: null },
      { defaultAction: 'deny', egress: [] },
    ],
    [{ defaultAction: ' Allow ' }, { defaultAction: 'allow', egress: [] }],
    [
      { egress: [{ target: ' A.example ' }] },
      { defaultAction: 'deny', egress: [{ action: 'deny', target: 'A.example' }] },
    ],
    [
      { egress: [{ action: 'ALLOW', target: '10.0.0.1/8', more: 1 }], extra: true },
      { defaultAction: 'deny', egress: [{ action: 'allow', target: '10.0.0.1/8' }] },
    ],
    [
      {
        egress: [
          { action: 'allow', target: '10.0.0.1', protocol: ' TCP ', ports: ['443', 80, ' 8000-8100 '] },
        ],
      },
      {
        defaultAction: 'deny',
        egress: [{ action: 'allow', target: '10.0.0.1', protocol: 'tcp', ports: ['443', 80, ' 8000-8100 '] }],
      },
    ],
    [
      { egress: [{ action: 'allow', target: 'Set:PyPI', protocol: null, ports: null }] },
      { defaultAction: 'deny', egress: [{ action: 'allow', target: 'Set:PyPI' }] },
    ],
  ])('reads %j', (value, policy) => {
    expect(checkNetworkPolicy(value)).toEqual({ policy })
  })

  test.each([
    ['text', 'the policy must be an object'],
    [[], 'the policy must be an object'],
    [{ defaultAction: 'block' }, 'defaultAction must be "allow" or "deny", but it is "block"'],
    [{ defaultAction: 1 }, 'defaultAction must be "allow" or "deny", but it is 1'],
    [{ egress: {} }, 'egress must be a list of rules, but it is an object'],
    [{ egress: ['a.example'] }, 'egress[0] must be an object'],
    [
      {
        egress: [
          { action: 'allow', target: 'a.example' },
          { action: 'permit', target: 'b.example' },
        ],
      },
      'egress[1].action must be "allow" or "deny", but it is "permit"',
    ],
    [{ egress: [{ action: 'allow' }] }, 'egress[0].target must be a name'],
    [{ egress: [{ action: 'allow', target: 7 }] }, 'egress[0].target must be a name'],
    [{ egress: [{ action: 'allow', target: '*' }] }, 'egress[0].target must be a name'],
    [{ egress: [{ target: 'set:' }] }, 'egress[0].target must be a name'],
    [
      { egress: [{ target: 'set:pipy' }] },
      'egress[0].target must name a set that there is (npm, pypi), but it is "set:pipy"',
    ],
    [
      { egress: Array.from({ length: 65 }, () => ({ target: 'set:npm' })) },
      'egress must have at most 64 rules for sets',
    ],
    [
      { egress: [{ target: 'a.example', protocol: 'sctp' }] },
      'egress[0].protocol must be one of "any", "tcp", "udp", "icmp", but it is "sctp"',
    ],
    [
      { egress: [{ target: 'a.example', protocol: 'udp' }] },
      'egress[0].protocol must be "tcp" or "any" for a name, but it is "udp"',
    ],
    [
      { egress: [{ target: '10.0.0.1', protocol: 'icmp', ports: [80] }] },
      'egress[0].ports must be absent when protocol is "icmp"',
    ],
    [
      { egress: [{ target: '10.0.0.1', ports: [] }] },
      'egress[0].ports must be a list of 1 to 64 ports and ranges, such as ["443", "8000-8100"], but it is a list of 0',
    ],
    [
      { egress: [{ target: '10.0.0.1', ports: '443' }] },
      'egress[0].ports must be a list of 1 to 64 ports and ranges',
    ],
    [{ egress: [{ target: '10.0.0.1', ports: ['443', '0'] }] }, 'but "0" is among them'],
    [{ egress: [{ target: '10.0.0.1', port: 443 }] }, 'egress[0].port is no field of a rule'],
    [{ egress: [{ target: 'a.example', Protocols: ['tcp'] }] }, 'egress[0].Protocols is no field of a rule'],
    [{ egress: [{ target: '10.0.0.1', ports: ['65536'] }] }, 'but "65536" is among them'],
    [{ egress: [{ target: '10.0.0.1', ports: ['90-80'] }] }, 'but "90-80" is among them'],
    [{ egress: [{ target: '10.0.0.1', ports: [44.5] }] }, 'but 44.5 is among them'],
    [{ egress: [{ target: '10.0.0.1', ports: [null] }] }, 'but null is among them'],
  ])('refuses %j and names the field', (value, message) => {
    const checked = checkNetworkPolicy(
      value,
      new Map([
        ['npm', []],
        ['pypi', []],
      ]),
    )
    expect('policy' in checked ? '' : formatPolicyProblem(checked)).toContain(message)
  })

  test('takes as many rules as are allowed, and marks one more as too many', () => {
    const rules = (count: number) =>
      Array.from({ length: count }, (_, index) => ({ action: 'allow', target: `n${index}.example` }))
    expect(checkNetworkPolicy({ egress: rules(MAX_POLICY_RULES) })).toHaveProperty('policy')
    expect(checkNetworkPolicy({ egress: rules(MAX_POLICY_RULES + 1) })).toMatchObject({
      field: 'egress',
      tooMany: true,
    })
  })

  test('says nothing long back', () => {
    const checked = checkNetworkRules([{ action: 'allow', target: 'x '.repeat(200) }], 'rules')
    expect(JSON.stringify(checked).length).toBeLessThan(400)
  })
})

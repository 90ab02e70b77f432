import { describe, expect, test } from 'vitest'
import { formatGuard, PASSED_MARK } from '../../../egress/nft/guard.ts'
import { MAX_POLICY_MARK } from '../../../egress/nft/own-connections.ts'
import { formatPolicy } from '../../../egress/nft/policy-rules.ts'
import {
  formatAdd,
  formatLearn,
  formatRemove,
  formatTable,
  parseLearnedSet,
  type SandboxRules,
  tableName,
} from '../../../egress/nft/rules.ts'
import { compilePolicy } from '../../../egress/policy/compile.ts'
import { checkNetworkPolicy } from '../../../lib/api/network-policy.ts'

const names = { table: tableName('ab12'), interfacePrefix: 'osbab12' }
const base = {
  ...names,
  subnet: '10.88.0.0/16',
  gateway: '10.88.0.1',
  dnsPort: 53,
  relayPort: 3129,
  mark: 7,
}

function policy(value: unknown) {
  const checked = checkNetworkPolicy(value)
  if (!('policy' in checked)) throw new Error(checked.message)
  return compilePolicy(checked.policy)
}
const rules = (value: unknown) =>
  formatPolicy(base, { id: 'sb-1', policy: policy(value), learned: [] })
    .split('\n')
    .filter((line) => line.startsWith('add rule'))
    .map((line) =>
      line
        .replace('add rule inet opensandbox_ab12 ', '')
        .replaceAll(/(ct mark(?: set)?) \d+/g, '$1 N')
        .replace(/ct mark & \d+ == \d+/, 'ct mark of any policy')
        .replace(`meta mark set ${PASSED_MARK} accept`, 'pass'),
    )
/** How connections are known as part of which packets come back. */
function marksOf(value: unknown, id = 'sb-1'): { owner: number; policy: number } {
  const text = formatPolicy(base, { id, policy: policy(value), learned: [] })
  const [owner = 0, mark = 0] = [...text.matchAll(/reply-\S+ ct mark (\d+)/g)].map(([, found]) =>
    Number(found),
  )
  return { owner, policy: mark }
}
/** What every policy ends with. */
const REPLY = [
  'pass-sb-1 ct mark N pass',
  'pass-sb-1 ct mark N pass',
  'pass-sb-1 ct mark of any policy ct mark set N pass',
  'pass-sb-1 jump begin',
  'pass-sb-1 meta l4proto tcp ct mark set N pass',
  'pass-sb-1 ct mark set N pass',
  'reply-sb-1 ct mark N pass',
  'reply-sb-1 ct mark N pass',
  'reply-sb-1 goto not_own',
]

describe('the order of a sandbox’s rules', () => {
  test('default deny without ranges: nothing passes by itself, and TCP to learned ones goes to egress', () => {
    expect(rules({ egress: [{ action: 'allow', target: 'a.example' }] })).toEqual([
      'forward-sb-1 ip daddr @closed goto refuse',
      'forward-sb-1 goto refuse',
      'divert-sb-1 ip daddr @closed accept',
      'divert-sb-1 ip daddr @learned-sb-1 meta l4proto tcp tproxy ip to 127.0.0.1:3129 meta mark set 7 accept',
      'input-sb-1 goto refuse',
      ...REPLY,
    ])
  })

  test('default allow: closed ones stay closed', () => {
    expect(rules({ defaultAction: 'allow' })).toEqual([
      'forward-sb-1 ip daddr @closed goto refuse',
      'forward-sb-1 goto pass-sb-1',
      'input-sb-1 goto refuse',
      ...REPLY,
    ])
  })

  test('N4: default allow with a denied name: what tells names goes to egress, and QUIC is refused', () => {
    const egress = [
      { action: 'deny', target: 'bad.example' },
      { action: 'allow', target: '203.0.113.7', ports: [443] },
    ]
    expect(rules({ defaultAction: 'allow', egress })).toEqual([
      'divert-sb-1 ip daddr { 203.0.113.7 } meta l4proto { tcp, udp } th dport { 443 } accept',
      'forward-sb-1 ip daddr { 203.0.113.7 } meta l4proto { tcp, udp } th dport { 443 } goto pass-sb-1',
      'input-sb-1 ip daddr { 203.0.113.7 } meta l4proto { tcp, udp } th dport { 443 } goto pass-sb-1',
      'forward-sb-1 ip daddr @closed goto refuse',
      'divert-sb-1 ip daddr @closed accept',
      'divert-sb-1 tcp dport { 80, 443 } tproxy ip to 127.0.0.1:3129 meta mark set 7 accept',
      'forward-sb-1 meta l4proto { tcp, udp } th dport { 80, 443 } goto refuse',
      'forward-sb-1 goto pass-sb-1',
      'input-sb-1 goto refuse',
      ...REPLY,
    ])
  })

  test('N9: rules with ports open and close those alone, one kernel rule for each kind', () => {
    const egress = [
      { action: 'allow', target: 'a.example', ports: ['443', '8000-8100'] },
      { action: 'allow', target: 'b.example', ports: [8050, '8101'] },
      { action: 'allow', target: '192.0.2.0/24', protocol: 'tcp', ports: [22] },
      { action: 'allow', target: '198.51.100.1', protocol: 'tcp', ports: ['22'] },
      { action: 'allow', target: '203.0.113.1', protocol: 'icmp' },
      { action: 'deny', target: '192.0.2.9', protocol: 'udp' },
    ]
    expect(rules({ egress }).filter((line) => !line.startsWith('input'))).toEqual([
      'forward-sb-1 ip daddr { 192.0.2.9 } meta l4proto udp goto refuse',
      'divert-sb-1 ip daddr { 192.0.2.0-192.0.2.255, 198.51.100.1 } tcp dport { 22 } accept',
      'forward-sb-1 ip daddr { 192.0.2.0-192.0.2.255, 198.51.100.1 } tcp dport { 22 } goto pass-sb-1',
      'forward-sb-1 ip daddr { 203.0.113.1 } meta l4proto icmp goto pass-sb-1',
      'forward-sb-1 ip daddr @closed goto refuse',
      'forward-sb-1 goto refuse',
      'divert-sb-1 ip daddr @closed accept',
      'divert-sb-1 ip daddr @learned-sb-1 tcp dport { 443, 8000-8101 } tproxy ip to 127.0.0.1:3129 meta mark set 7 accept',
      ...REPLY,
    ])
  })

  test('R1: another policy marks connections otherwise, and the same one does not', () => {
    const one = { egress: [{ action: 'allow', target: '192.0.2.0/24' }] }
    const others = [marksOf({}), marksOf({ defaultAction: 'allow' }), marksOf(one, 'sb-2')]
    expect(marksOf(structuredClone(one))).toEqual(marksOf(one))
    expect(new Set([marksOf(one), ...others].map(({ policy: mark }) => mark)).size).toBe(4)
  })

  test('R1: connections of TCP are marked by whose they are, under every policy, as nothing else is', () => {
    const one = marksOf({ defaultAction: 'allow' })
    const same = marksOf({})
    const other = marksOf({}, 'sb-2')
    expect([one.owner, one.owner === other.owner]).toEqual([same.owner, false])
    for (const { owner, policy: mark } of [one, same, other]) {
      expect(mark).toBeLessThanOrEqual(MAX_POLICY_MARK)
      // A pod has the two first of those that are greater for itself.
      expect(owner).toBeGreaterThan(MAX_POLICY_MARK + 2)
      expect(owner).toBeLessThanOrEqual(0xffff_ffff)
    }
  })

  test('R1: a mark says whose a connection is also of what is not TCP, under every policy', () => {
    const within = (id: string) => {
      const text = formatPolicy(base, { id, policy: policy({}), learned: [] })
      const [, mask = 0, owner = 0] = /ct mark & (\d+) == (\d+)/.exec(text) ?? []
      return (mark: number) => (mark & Number(mask)) >>> 0 === Number(owner)
    }
    const [own, other] = [within('sb-1'), within('sb-2')]
    const policies = [
      {},
      { defaultAction: 'allow' },
      { egress: [{ action: 'allow', target: '192.0.2.0/24' }] },
    ]
    for (const each of policies.map((value) => marksOf(value)))
      expect([own(each.policy), other(each.policy), own(each.owner), own(0)]).toEqual([
        true,
        false,
        false,
        false,
      ])
  })

  test('R1: what no mark says to be its own is so for those alone whose connections an earlier version has let begin', () => {
    const lines = (more: Pick<SandboxRules, 'hasUnmarked' | 'hasOtherMarks'>) =>
      formatPolicy(base, { id: 'sb-1', policy: policy({}), learned: [], ...more }).split('\n')
    const now = lines({})
    const added = (more: Parameters<typeof lines>[0]) =>
      lines(more)
        .filter((line) => !now.includes(line))
        .map((line) => line.replace(/.*opensandbox_ab12 /, '').replace(/ meta mark .*/, ''))
    expect(added({ hasUnmarked: true })).toEqual(['reply-sb-1 meta l4proto tcp'])
    expect(added({ hasOtherMarks: true })).toEqual(['pass-sb-1 meta l4proto tcp jump begin'])
  })

  test('denied ranges before allowed ones before closed ones; the host only by a rule for one address', () => {
    expect(
      rules({
        egress: [
          { action: 'allow', target: '10.0.0.0/8' },
          { action: 'allow', target: '192.0.2.2' },
          { action: 'deny', target: '10.1.2.3' },
          { action: 'allow', target: '2001:db8::/32' },
        ],
      }),
    ).toEqual([
      'divert-sb-1 ip daddr { 10.1.2.3 } accept',
      'forward-sb-1 ip daddr { 10.1.2.3 } goto refuse',
      'input-sb-1 ip daddr { 10.1.2.3 } goto refuse',
      'divert-sb-1 ip daddr { 10.0.0.0-10.255.255.255, 192.0.2.2 } accept',
      'forward-sb-1 ip daddr { 10.0.0.0-10.255.255.255, 192.0.2.2 } goto pass-sb-1',
      'input-sb-1 ip daddr { 192.0.2.2 } goto pass-sb-1',
      'forward-sb-1 ip daddr @closed goto refuse',
      'forward-sb-1 goto refuse',
      'divert-sb-1 ip daddr @closed accept',
      'input-sb-1 goto refuse',
      ...REPLY,
    ])
  })

  test('ranges that overlap are one, since nft refuses them otherwise', () => {
    const [, second] = rules({
      egress: ['10.0.0.0/8', '10.1.0.0/16', '11.0.0.0/8'].map((target) => ({ action: 'deny', target })),
    })
    expect(second).toBe('forward-sb-1 ip daddr { 10.0.0.0-11.255.255.255 } goto refuse')
  })
})

test('a policy keeps what was learned, with the time that is left', () => {
  const learned = [
    { address: '198.51.100.1', seconds: 60 },
    { address: '198.51.100.2', seconds: 7 },
  ]
  const text = formatPolicy(base, { id: 'sb-1', policy: policy({}), learned })
  expect(text).toContain('flush set inet opensandbox_ab12 learned-sb-1\n')
  expect(text).toContain(
    'add element inet opensandbox_ab12 learned-sb-1 { 198.51.100.1 timeout 60s, 198.51.100.2 timeout 7s }\n',
  )
})

test('a sandbox becomes known by its interface and address last, when its chains are there', () => {
  const text = formatAdd(base, {
    id: 'sb-1',
    address: '10.88.0.5',
    interface: 'osbab12aa',
    policy: policy({}),
    learned: [],
  })
  expect(text.trim().split('\n').slice(-4)).toEqual([
    'add element inet opensandbox_ab12 forward_by { "osbab12aa" : goto forward-sb-1 }',
    'add element inet opensandbox_ab12 reply_by { "osbab12aa" : goto reply-sb-1 }',
    'add element inet opensandbox_ab12 input_by { "osbab12aa" : goto input-sb-1 }',
    'add element inet opensandbox_ab12 registered { "osbab12aa" . 10.88.0.5 }',
  ])
})

test('a new address is merely added; one that is there goes and comes, to get its whole time on old kernels', () => {
  expect(formatLearn(base, 'sb-1', [{ address: '198.51.100.1', seconds: 120 }])).toBe(
    'add element inet opensandbox_ab12 learned-sb-1 { 198.51.100.1 timeout 120s }\n',
  )
  const elements = [
    { address: '198.51.100.1', seconds: 120 },
    { address: '198.51.100.2', seconds: 90, isThere: true },
  ]
  expect(formatLearn(base, 'sb-1', elements)).toBe(
    'add element inet opensandbox_ab12 learned-sb-1 { 198.51.100.2 }\n' +
      'delete element inet opensandbox_ab12 learned-sb-1 { 198.51.100.2 }\n' +
      'add element inet opensandbox_ab12 learned-sb-1 { 198.51.100.1 timeout 120s, 198.51.100.2 timeout 90s }\n',
  )
})

test('removing a sandbox closes it first', () => {
  const text = formatRemove(base, { id: 'sb-1', address: '10.88.0.5', interface: 'osbab12aa' })
  expect(text.split('\n')[0]).toBe(
    'delete element inet opensandbox_ab12 registered { "osbab12aa" . 10.88.0.5 }',
  )
})

test('the table replaces its former self, and drops what it does not know', () => {
  const text = formatTable(base, [])
  expect(text.startsWith('add table inet opensandbox_ab12\ndelete table inet opensandbox_ab12\n')).toBe(true)
  expect(text).toContain('iifname "osbab12*" iifname . ip saddr != @registered goto spoofing')
  expect(text).toContain('iifname "osbab12*" meta nfproto != ipv4 drop')
  // To a sandbox nothing passes that its own chain has not judged.
  expect(/chain to_sandbox \{\n([^}]*)\}/.exec(text)?.[1]?.trim().split(/\n */)).toEqual([
    'ct status & assured == 0 tcp flags & (syn | rst) == 0 drop',
    'ct state established oifname vmap @reply_by',
    'ct state related meta l4proto icmp oifname vmap @reply_by',
    'drop',
  ])
  expect(text).toContain('th dport 53 dnat ip to 10.88.0.1:53')
  // What begins a connection goes on to the rule that finds out whether the one before it has ended.
  expect(text).toContain(
    'tcp flags & (fin | syn | rst | ack) != syn socket transparent 1 meta mark set 7 accept',
  )
  expect(text).toContain('ip saddr 10.88.0.0/16 oifname != "osbab12*" masquerade')
})

test('the id is found in the name of a learned set', () => {
  expect(parseLearnedSet('learned-sb-1')).toBe('sb-1')
  expect(parseLearnedSet('closed')).toBeUndefined()
})

test('B6: the guard is one line of commands, and lets pass what is marked alone', () => {
  const text = formatGuard({ ...names, relayMark: 7 })
  expect(text.indexOf('\n')).toBe(text.length - 1)
  expect(text).toContain('add table inet opensandbox_ab12_guard { flags owner; };')
  for (const rule of [
    /come_in .*iifname "osbab12\*" meta mark != \d+ drop/,
    /forward .*oifname "osbab12\*" meta mark != \d+ drop/,
    /input .*meta mark != \{ \d+, 7 \} drop/,
  ])
    expect(text).toMatch(rule)
})

test('C15: where requests may be read, they are led to egress under every policy, at the ports of the operator', () => {
  const text = formatPolicy(base, {
    id: 'sb-1',
    policy: policy({ defaultAction: 'allow', egress: [{ action: 'allow', target: 'api.example' }] }),
    learned: [],
    readPorts: [80, 8443],
  })
  expect(text).toContain(
    'divert-sb-1 tcp dport { 80, 443, 8443 } tproxy ip to 127.0.0.1:3129 meta mark set 7 accept',
  )
  expect(text).toContain('forward-sb-1 meta l4proto { tcp, udp } th dport { 80, 443, 8443 } goto refuse')
})

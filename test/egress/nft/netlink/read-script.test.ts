import { describe, expect, test } from 'vitest'
import { readScript } from '../../../../egress/nft/netlink/read-script.ts'

const read = (line: string) => readScript(`${line}\n`)?.[0]
const rule = (text: string) => {
  const command = read(`add rule inet t c ${text}`)
  return command?.kind === 'add rule' ? command.statements : undefined
}
const range = (first: number | bigint, last = first) => ({ first: BigInt(first), last: BigInt(last) })

test('a script is read whole, and each command remembers its line', () => {
  const script = 'add chain inet t a-1\nflush chain inet t a-1\ndelete set inet t learned-x\n'
  expect(readScript(script)).toEqual([
    { kind: 'add chain', family: 'inet', table: 't', name: 'a-1', line: 'add chain inet t a-1' },
    { kind: 'flush chain', family: 'inet', table: 't', name: 'a-1', line: 'flush chain inet t a-1' },
    {
      kind: 'delete set',
      family: 'inet',
      table: 't',
      name: 'learned-x',
      line: 'delete set inet t learned-x',
    },
  ])
})

test('a chain that sees what comes in by an interface, and its rule', () => {
  const table = { family: 'netdev', table: 't', name: 'c' }
  expect(
    read('add chain netdev t c { type filter hook ingress device "eth0" priority -5; policy accept; }'),
  ).toMatchObject({ ...table, kind: 'add chain', ingress: { device: 'eth0', priority: -5 } })
  expect(read('delete chain netdev t c')).toMatchObject({ ...table, kind: 'delete chain' })
  expect(read('add rule netdev t c ether type != ip goto other')).toMatchObject({
    ...table,
    statements: [
      { kind: 'other ether type', type: 0x0800 },
      { kind: 'goto', chain: 'other' },
    ],
  })
})

test('sets of addresses that go after a time', () => {
  expect(read('add set inet t s { type ipv4_addr; flags timeout; size 8192; }')).toMatchObject({
    type: 'ipv4_addr',
    size: 8192,
  })
  expect(read('add set inet t s { type ipv6_addr; flags timeout; size 1; }')).toMatchObject({ size: 1 })
})

test.each([
  ['192.0.2.1', { key: 'c0000201' }],
  ['192.0.2.1 timeout 60s', { key: 'c0000201', seconds: 60 }],
  ['2001:db8::1 timeout 5s', { key: '20010db8000000000000000000000001', seconds: 5 }],
  ['"eth0"', { key: '65746830000000000000000000000000' }],
  ['"eth0" . 192.0.2.1', { key: '65746830000000000000000000000000c0000201' }],
  ['"eth0" : goto forward-s1', { key: '65746830000000000000000000000000', goto: 'forward-s1' }],
])('the element %s', (text, { key, ...more }) => {
  expect(read(`add element inet t s { ${text} }`)).toMatchObject({
    kind: 'add element',
    elements: [{ text, key: Buffer.from(key, 'hex'), ...more }],
  })
})

describe('rules', () => {
  test.each([
    ['accept', [{ kind: 'verdict', verdict: 'accept' }]],
    ['drop', [{ kind: 'verdict', verdict: 'drop' }]],
    ['goto refuse', [{ kind: 'goto', chain: 'refuse' }]],
    ['meta mark set 7', [{ kind: 'set mark', of: 'meta', mark: 7 }]],
    ['ct mark set 4294967295', [{ kind: 'set mark', of: 'ct', mark: 4_294_967_295 }]],
    ['ct mark & 4294934528 == 98304', [{ kind: 'mark within', mask: 4_294_934_528, mark: 98_304 }]],
    ['jump begin', [{ kind: 'jump', chain: 'begin' }]],
    ['ct mark 5', [{ kind: 'in ranges', field: 'ct mark', ranges: [range(5)] }]],
    ['ip daddr @closed', [{ kind: 'in set', field: 'ip daddr', set: 'closed' }]],
    ['ip daddr 0.0.0.9', [{ kind: 'in ranges', field: 'ip daddr', ranges: [range(9)] }]],
    ['ip daddr { 0.0.0.1-0.0.0.3 }', [{ kind: 'in ranges', field: 'ip daddr', ranges: [range(1, 3)] }]],
    ['ip daddr 0.0.1.9/24', [{ kind: 'in ranges', field: 'ip daddr', ranges: [range(256, 511)] }]],
    ['ip6 daddr { ::1, ::4 }', [{ kind: 'in ranges', field: 'ip6 daddr', ranges: [range(1), range(4)] }]],
    ['meta l4proto { udp, tcp }', [{ kind: 'in ranges', field: 'l4proto', ranges: [range(6), range(17)] }]],
    [
      'udp dport { 443, 8000-8100 }',
      [
        { kind: 'in ranges', field: 'l4proto', ranges: [range(17)] },
        { kind: 'in ranges', field: 'dport', ranges: [range(443), range(8000, 8100)] },
      ],
    ],
    ['tproxy ip to 127.0.0.1:3129', [{ kind: 'tproxy', address: Buffer.from([127, 0, 0, 1]), port: 3129 }]],
  ])('%s', (text, statements) => expect(rule(text)).toEqual(statements))

  test('ranges that overlap or touch are joined, as the kernel wants them', () => {
    expect(rule('th dport { 9, 1-4, 3-6, 7 }')).toEqual([
      { kind: 'in ranges', field: 'dport', ranges: [range(1, 7), range(9)] },
    ])
  })

  test('several statements in one', () => {
    expect(rule('ip daddr { 192.0.2.1 } meta l4proto tcp accept')?.map(({ kind }) => kind)).toEqual([
      'in ranges',
      'in ranges',
      'verdict',
    ])
  })
})

describe('what is for nft', () => {
  test.each([
    'add table inet t',
    'table inet t {',
    'add chain inet t raw { type filter hook prerouting priority raw; policy accept; }',
    'add chain ip t c',
    'delete rule inet t c handle 4',
    'insert rule inet t c drop',
    'add set inet t s { type ipv4_addr; flags interval; size 2; }',
    'add element inet t s { 10.0.0.0/8 }',
    'add element inet t s { 10.0.0.1-10.0.0.9 }',
    'add element inet t s { "eth*" }',
    'add element inet t s { "a-name-that-is-too-long" }',
    'add element inet t s { }',
    'add element inet t s { 192.0.2.1 timeout 1m }',
    'add rule inet t c ip saddr 192.0.2.1 accept',
    'add rule inet t c ip daddr { 192.0.2.1, } accept',
    'add rule inet t c ip daddr 2001:db8::1 accept',
    'add rule inet t c ip daddr 192.0.2.1/33 accept',
    'add rule inet t c ip daddr 192.0.2.9-192.0.2.1 accept',
    'add rule inet t c th dport 65536 accept',
    'add rule inet t c th dport 74565 accept',
    'add rule inet t c th dport { 1-2-3 } accept',
    'add rule inet t c ct mark { 1, 2 } accept',
    'add rule inet t c ct mark & 4 != 4 accept',
    'add rule inet t c ct mark & x == 4 accept',
    'add rule inet t c ct mark & 4 == 4294967296 accept',
    'add rule inet t c ct mark set 4294967296',
    'add rule inet t c tproxy ip to [::1]:80',
    'add rule inet t c accept comment "x"',
    'add rule inet t c goto',
    'add rule inet t c ip daddr',
    'add rule inet t c ether type != ip goto other',
    'add rule netdev t c ip daddr 192.0.2.1 accept',
    'add rule netdev t c ether type != arp goto other',
    'add rule netdev t c ether type != ip drop',
    'add set netdev t s { type ipv4_addr; flags timeout; size 1; }',
    'add chain netdev t c { type filter hook egress device "eth0" priority 0; policy accept; }',
    'add chain netdev t c { type filter hook ingress device "a-name-too-long-" priority 0; policy accept; }',
    'add chain inet t c { type filter hook ingress device "eth0" priority 0; policy accept; }',
  ])('%s', (line) => expect(readScript(`add chain inet t c\n${line}\n`)).toBeUndefined())
})

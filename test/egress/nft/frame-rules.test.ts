import { expect, test } from 'vitest'
import { formatFrames, formatFramesLess, formatFramesOf } from '../../../egress/nft/frame-rules.ts'
import { readScript } from '../../../egress/nft/netlink/read-script.ts'

const names = { table: 'opensandbox_ab12' }
const chainOf = (table: string, chain: string) =>
  (new RegExp(`chain ${chain} \\{\\n([^}]*(?:\\{[^}]*\\}[^}]*)*?)\\n  \\}`).exec(table)?.[1] ?? '')
    .split('\n')
    .map((line) => line.trim())

test('B2: whatever is no IPv4 is looked at, and only ARP goes on', () => {
  expect(formatFramesOf(names, 'osbab12g1').split('\n').slice(0, 3)).toEqual([
    'add chain netdev opensandbox_ab12 osbab12g1 { type filter hook ingress device "osbab12g1" priority -500; policy accept; }',
    'flush chain netdev opensandbox_ab12 osbab12g1',
    'add rule netdev opensandbox_ab12 osbab12g1 ether type != ip goto other',
  ])
  const table = formatFrames(names, { ipv6: false })
  expect(chainOf(table, 'other')).toEqual(['ether type arp accept', 'ether type ip6 goto six', 'goto kind'])
  for (const chain of ['six', 'kind'])
    expect(chainOf(table, chain).filter((line) => !/(^| )drop$|goto kind$/.test(line))).toEqual([])
  // Also where there is no room to remember it.
  expect([chainOf(table, 'six').at(-1), chainOf(table, 'kind').at(-1)]).toEqual(['goto kind', 'drop'])
})

test('where sandboxes have IPv6, that goes on too, to meet the rules of both', () => {
  expect(chainOf(formatFrames(names, { ipv6: true }), 'other')).toEqual([
    'ether type arp accept',
    'ether type ip6 accept',
    'goto kind',
  ])
})

test('what is remembered of one sandbox, and of all, has a bound', () => {
  const table = formatFrames(names, { ipv6: false })
  for (const set of ['frames', 'kinds', 'telling', 'telling_few'])
    expect(table).toMatch(new RegExp(`set ${set} \\{[^}]* size \\d+;`))
  // Nothing that a packet says is remembered before it is known how much of its sandbox is.
  for (const [chain, remembered] of [
    ['six', /add @frames \{ iifname \. ip6 daddr/],
    ['kind', /add @kinds \{ iifname \. ether type/],
  ] as const) {
    const lines = chainOf(table, chain)
    const limited = lines.findLastIndex((line) => line.includes('limit rate over'))
    expect(lines.findIndex((line) => remembered.test(line))).toBeGreaterThan(limited)
    expect(limited).toBeGreaterThan(0)
  }
})

test('what comes and goes with a sandbox is written without nft', () => {
  const script = `${formatFramesOf(names, 'osbab12g1')}${formatFramesLess(names, 'osbab12g1')}`
  expect(readScript(script)?.map(({ kind, family }) => [family, kind])).toEqual([
    ['netdev', 'add chain'],
    ['netdev', 'flush chain'],
    ['netdev', 'add rule'],
    ['netdev', 'add chain'],
    ['netdev', 'delete chain'],
  ])
})

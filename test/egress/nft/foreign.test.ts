import { expect, test } from 'vitest'
import type { NftObject } from '../../../egress/nft/apply.ts'
import { chooseTargets, createForeignFirewalls, formatInsert } from '../../../egress/nft/foreign.ts'
import { createLogger } from '../../../lib/log.ts'

const chain = (family: string, table: string, name: string, more: object = {}): NftObject => ({
  chain: { family, table, name, ...more },
})
const drops = (hook: string) => ({ hook, policy: 'drop' })
const names = (objects: readonly (NftObject['chain'] | undefined)[]) => objects.map((each) => each?.name)

test.each([
  ['nothing', [], [], []],
  [
    'a firewall that accepts',
    [chain('ip', 'filter', 'FORWARD', { hook: 'forward', policy: 'accept' })],
    [],
    [],
  ],
  [
    'Docker',
    [chain('ip', 'filter', 'DOCKER-USER'), chain('ip', 'filter', 'FORWARD', drops('forward'))],
    ['DOCKER-USER'],
    [],
  ],
  ['Docker, before it drops', [chain('ip', 'filter', 'DOCKER-USER')], ['DOCKER-USER'], []],
  [
    'ufw',
    [
      chain('ip', 'filter', 'FORWARD', drops('forward')),
      chain('ip', 'filter', 'INPUT', drops('input')),
      chain('ip6', 'filter', 'FORWARD', drops('forward')),
    ],
    ['FORWARD', 'INPUT'],
    [],
  ],
  ['a firewall of its own kind', [chain('inet', 'guard', 'fwd', drops('forward'))], [], ['fwd']],
  ['an output chain', [chain('ip', 'filter', 'OUTPUT', drops('output'))], [], []],
])('beside %s', (_, objects, targets, strangers) => {
  const chosen = chooseTargets(objects)
  expect(names(chosen.targets)).toEqual(targets)
  expect(names(chosen.strangers)).toEqual(strangers)
})

test('N2: the chains of IPv6 matter where sandboxes have it', () => {
  const objects = [
    chain('ip', 'filter', 'DOCKER-USER'),
    chain('ip6', 'filter', 'DOCKER-USER'),
    chain('ip6', 'filter', 'FORWARD', drops('forward')),
    chain('ip6', 'filter', 'INPUT', drops('input')),
    chain('ip6', 'guard', 'fwd', drops('forward')),
  ]
  const of = (ipv6: boolean) => {
    const { targets, strangers } = chooseTargets(objects, { ipv6 })
    return [targets, strangers].map((chains) => chains.map(({ family, name }) => `${family} ${name}`))
  }
  expect(of(false)).toEqual([['ip DOCKER-USER'], []])
  expect(of(true)).toEqual([['ip DOCKER-USER', 'ip6 DOCKER-USER', 'ip6 INPUT'], ['ip6 fwd']])
})

test('packets pass both ways where they are forwarded, and in where they come to the host', () => {
  const text = (name: string) => formatInsert({ family: 'ip', table: 'filter', name }, 'osbab12', 'mark')
  expect(text('DOCKER-USER')).toBe(
    'insert rule ip filter DOCKER-USER iifname "osbab12*" counter accept comment "mark"\n' +
      'insert rule ip filter DOCKER-USER oifname "osbab12*" counter accept comment "mark"\n',
  )
  expect(text('INPUT')).not.toContain('oifname')
})

test('rules are put once, removed by their mark, and a stranger is told of once', async () => {
  const applied: string[] = []
  const lines: string[] = []
  let own: NftObject[] = []
  const foreign = createForeignFirewalls({
    nft: {
      list: async (...what) => {
        if (what[0] === 'chains')
          return [chain('ip', 'filter', 'DOCKER-USER'), chain('inet', 'guard', 'fwd', drops('forward'))]
        return what[3] === 'DOCKER-USER'
          ? [...own, { rule: { handle: 9, chain: 'DOCKER-USER', comment: 'other' } }]
          : undefined
      },
      apply: async (script) => void applied.push(script),
    },
    run: async () => ({ code: 1, stdout: '', stderr: '' }),
    interfacePrefix: 'osbab12',
    comment: 'mark',
    log: createLogger({ program: 'test', write: (line) => void lines.push(line) }),
    readLegacyTables: () => undefined,
  })
  await foreign.open()
  own = [4, 5].map((handle) => ({ rule: { handle, chain: 'DOCKER-USER', comment: 'mark' } }))
  await foreign.open()
  expect(applied).toHaveLength(1)
  expect(lines.filter((line) => line.includes('inet guard fwd'))).toHaveLength(1)
  await foreign.close()
  expect(applied[1]).toBe(
    'delete rule ip filter DOCKER-USER handle 4\ndelete rule ip filter DOCKER-USER handle 5\n',
  )
})

test('tables of the old iptables are opened by its own program', async () => {
  const calls: string[] = []
  const rules = new Set<string>()
  const foreign = createForeignFirewalls({
    nft: { list: async () => [], apply: async () => {} },
    run: async (command, args) => {
      const [, , what = '', ...rest] = args
      calls.push(`${command} ${what} ${rest[0]}`)
      const rule = rest.join(' ')
      if (what === '-I') rules.add(rule)
      if (what === '-D') rules.delete(rule)
      const ok = what === '-C' ? rules.has(rule) : what !== '-S'
      return { code: ok ? 0 : 1, stdout: '', stderr: '' }
    },
    interfacePrefix: 'osbab12',
    comment: 'mark',
    log: createLogger({ program: 'test', write: () => {} }),
    readLegacyTables: () => 'nat\nfilter\n',
  })
  await foreign.open()
  await foreign.open()
  expect(calls.filter((call) => call === 'iptables-legacy -I FORWARD')).toHaveLength(2)
  expect([...rules].map((rule) => rule.slice(0, 19))).toEqual(['FORWARD -i osbab12+', 'FORWARD -o osbab12+'])
  await foreign.close()
  expect(rules.size).toBe(0)
})

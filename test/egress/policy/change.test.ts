import { expect, test } from 'vitest'
import { modeOf, patchPolicy, removeTargets } from '../../../egress/policy/change.ts'
import type { NetworkRule } from '../../../lib/api/network-policy.ts'

const rules = (...texts: string[]): NetworkRule[] =>
  texts.map((text) => {
    const [action, target = ''] = text.split(' ')
    return { action: action === 'allow' ? 'allow' : 'deny', target }
  })
const policy = (...texts: string[]) => ({ defaultAction: 'allow' as const, egress: rules(...texts) })

test.each([
  ['deny', [], 'deny_all'],
  ['allow', [], 'allow_all'],
  ['deny', ['allow a.example'], 'enforcing'],
  ['allow', ['deny a.example'], 'enforcing'],
] as const)('default %s with %j is %s', (defaultAction, texts, mode) => {
  expect(modeOf({ defaultAction, egress: rules(...texts) })).toBe(mode)
})

test.each([
  [[], ['allow a.example'], ['allow a.example']],
  [['deny *.example'], ['allow a.example'], ['allow a.example', 'deny *.example']],
  [['deny a.example', 'deny b.example'], ['allow a.example'], ['allow a.example', 'deny b.example']],
  [['deny A.Example'], ['allow a.example'], ['allow a.example']],
  [['deny a.example'], ['allow A.EXAMPLE'], ['allow A.EXAMPLE']],
  // Of two new rules for one target the first stands.
  [['deny b.example'], ['allow a.example', 'deny a.example'], ['allow a.example', 'deny b.example']],
  [
    ['allow x.example'],
    ['deny c.example', 'allow d.example'],
    ['deny c.example', 'allow d.example', 'allow x.example'],
  ],
])('%j patched with %j gives %j', (before, patch, after) => {
  expect(patchPolicy(policy(...before), rules(...patch))).toEqual(policy(...after))
})

test.each([
  [['allow a.example', 'deny 10.0.0.0/8'], [' A.example '], ['deny 10.0.0.0/8']],
  [['allow a.example', 'deny 10.0.0.0/8'], ['10.0.0.0/8', 'unknown'], ['allow a.example']],
  [['allow a.example'], ['unknown'], undefined],
  // Targets are texts here: another way to write the same range is another target.
  [['allow 10.0.0.0/8'], ['10.1.2.3/8'], undefined],
])('%j without %j is %j', (before, targets, after) => {
  expect(removeTargets(policy(...before), targets)).toEqual(after && policy(...after))
})

test('N9: a patch replaces what a target had, whatever the ports, and may have rules for several of them', () => {
  const before = {
    defaultAction: 'deny' as const,
    egress: [{ action: 'allow' as const, target: 'a.example', ports: [80] }],
  }
  const patch: NetworkRule[] = [
    { action: 'deny', target: 'a.example', ports: ['443'] },
    { action: 'allow', target: 'A.example', ports: [443] },
    { action: 'allow', target: 'a.example' },
  ]
  // The second is about the same port as the first.
  expect(patchPolicy(before, patch).egress).toEqual([patch[0], patch[2]])
})

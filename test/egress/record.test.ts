import { expect, test } from 'vitest'
import { type Decided, DecisionRecord } from '../../egress/record.ts'

const name = (text: string, verdict: 'allow' | 'deny'): Decided => ({
  kind: 'name',
  verdict,
  reason: 'rule 0',
  name: text,
})
const limits = { perSandbox: 4, wantedPerSandbox: 3, sandboxes: 2 }

test('pages go on where the last one ended, and say what is lost', () => {
  const record = new DecisionRecord({ limits, now: () => 0 })
  for (let count = 1; count <= 3; count++) record.add('a', name(`n${count}.example`, 'allow'))
  const first = record.page('a', { after: 0, limit: 2 })
  expect(first.events[0]).toEqual({
    sequence: 1,
    at: '1970-01-01T00:00:00.000Z',
    kind: 'name',
    verdict: 'allow',
    reason: 'rule 0',
    name: 'n1.example',
  })
  expect([first.next, first.lost]).toEqual([2, 0])
  expect(record.page('a', { after: first.next, limit: 2 }).events.map(({ sequence }) => sequence)).toEqual([
    3,
  ])
  for (let count = 4; count <= 20; count++) record.add('a', name('more.example', 'deny'))
  const late = record.page('a', { after: 3, limit: 10 })
  expect(late.events.map(({ sequence }) => sequence)).toEqual([17, 18, 19, 20])
  expect(late.lost).toBe(13)
  expect(record.page('a', { after: 20, limit: 10 })).toEqual({ events: [], next: 20, lost: 0 })
})

test('a proposal has what was reached, and what was denied only when asked for', () => {
  const record = new DecisionRecord({ limits })
  record.add('a', name('z.example', 'allow'))
  record.add('a', name('b.example', 'deny'))
  record.add('a', {
    kind: 'connection',
    verdict: 'deny',
    reason: 'closed',
    address: '198.51.100.1',
    protocol: 'udp',
    port: 53,
  })
  record.add('a', name('beyond.example', 'allow'))
  const targets = (includeDenied: boolean) =>
    record.propose('a', { includeDenied }).egress.map(({ target }) => target)
  expect(targets(false)).toEqual(['z.example'])
  expect(targets(true)).toEqual(['198.51.100.1', 'b.example', 'z.example'])
})

test('nothing is left of a sandbox that is gone, nor of more sandboxes than there is room for', () => {
  const record = new DecisionRecord({ limits })
  for (const id of ['a', 'b', 'c']) record.add(id, name('a.example', 'allow'))
  const sizes = () => ['a', 'b', 'c'].map((id) => record.page(id, { after: 0, limit: 9 }).events.length)
  expect(sizes()).toEqual([0, 1, 1])
  record.remove('c')
  expect(sizes()).toEqual([0, 1, 0])
})

import { expect, test } from 'vitest'
import { Learned, learnedSeconds } from '../../egress/learned.ts'

test.each([
  [0, 60],
  [10, 70],
  [60, 120],
  [120, 180],
  [300, 360],
  [9999, 360],
])('an answer with a TTL of %i s opens its addresses for %i s', (ttl, seconds) => {
  expect(learnedSeconds(ttl)).toBe(seconds)
})

test('an address that is open for long enough is not told to the kernel again', () => {
  const learned = new Learned()
  const first = learned.note('a.example', ['198.51.100.1'], 60, 0)
  expect(first?.elements).toEqual([{ address: '198.51.100.1', seconds: 120 }])
  learned.applying(first?.elements ?? [], Promise.resolve())
  expect(learned.note('a.example', ['198.51.100.1'], 60, 49_000)?.elements).toEqual([])
  expect(learned.note('b.example', ['198.51.100.1'], 30, 70_000)?.elements).toEqual([])
  expect(learned.note('a.example', ['198.51.100.1'], 60, 51_000)?.elements).toEqual([
    { address: '198.51.100.1', seconds: 120, isThere: true },
  ])
  // Long expired, so the kernel has none: the new time began at 51 s and has 120 s.
  expect(learned.note('a.example', ['198.51.100.1'], 60, 174_000)?.elements).toEqual([
    { address: '198.51.100.1', seconds: 120 },
  ])
})

test('whoever asks while the kernel is being told waits for it too', async () => {
  const learned = new Learned()
  const plan = learned.note('a.example', ['198.51.100.1'], 60, 0)
  const applied = Promise.resolve()
  learned.applying(plan?.elements ?? [], applied)
  expect(learned.note('a.example', ['198.51.100.1'], 60, 1)?.underWay).toEqual([applied])
})

test('what the kernel refused is told again', async () => {
  const learned = new Learned()
  const plan = learned.note('a.example', ['198.51.100.1'], 60, 0)
  const refused = Promise.reject(new Error('no'))
  learned.applying(plan?.elements ?? [], refused)
  await expect(refused).rejects.toThrow('no')
  expect(learned.note('a.example', ['198.51.100.1'], 60, 1)?.elements).toHaveLength(1)
})

test('an address stays while one of its names is allowed', () => {
  const learned = new Learned()
  learned.note('a.example', ['198.51.100.1', '198.51.100.2'], 60, 0)
  learned.note('b.example', ['198.51.100.2'], 60, 0)
  learned.retain((name) => name === 'b.example')
  expect(learned.elements(0)).toEqual([{ address: '198.51.100.2', seconds: 120 }])
  learned.retain(() => false)
  expect(learned.elements(0)).toEqual([])
})

test('an address goes when a name is no longer allowed that its own was an alias for', () => {
  const learned = new Learned()
  learned.note('a.example', ['198.51.100.1', '198.51.100.2'], 60, 0, ['tracker.example'])
  learned.note('a.example', ['198.51.100.2'], 60, 0, ['cdn.example'])
  learned.retain((_, aliases) => !aliases.includes('tracker.example'))
  expect(learned.elements(0).map(({ address }) => address)).toEqual(['198.51.100.2'])
})

test.each([
  [0, 128],
  [16, 32],
])('of names that are aliases for %i others, an address keeps the last %i', (length, kept) => {
  const learned = new Learned()
  const aliases = Array.from({ length }, (_, index) => `alias-${index}.example`)
  for (let index = 0; index < 200; index++) learned.note(`${index}.example`, ['198.51.100.1'], 60, 0, aliases)
  const leading = Array.from({ length: 200 }, (_, index) => learned.leads(`${index}.example`, '198.51.100.1'))
  expect(leading.lastIndexOf(false)).toBe(200 - kept - 1)
})

test('what an earlier run had learned stays until the policy changes, for its names are not known', () => {
  const learned = new Learned()
  learned.adopt([{ address: '198.51.100.1', seconds: 30 }], 0)
  expect(learned.elements(10_000)).toEqual([{ address: '198.51.100.1', seconds: 20 }])
  learned.retain(() => true)
  expect(learned.elements(10_000)).toEqual([])
})

test('expired addresses are forgotten', () => {
  const learned = new Learned()
  learned.note('a.example', ['198.51.100.1'], 0, 0)
  expect(learned.elements(59_000)).toHaveLength(1)
  expect(learned.elements(60_000)).toEqual([])
})

test('too many addresses are refused, until others expire', () => {
  const learned = new Learned()
  for (let index = 0; index < 4096; index++)
    learned.note('a.example', [`198.51.${index >> 8}.${index & 255}`], 0, 0)
  expect(learned.note('a.example', ['203.0.113.1'], 0, 1000)).toBeUndefined()
  expect(learned.note('a.example', ['198.51.0.1'], 0, 1000)).toBeDefined()
  expect(learned.note('a.example', ['203.0.113.1'], 0, 63_000)).toBeDefined()
})

test('C1: what an earlier run has learned, or another name, proves no name', () => {
  const learned = new Learned()
  learned.adopt([{ address: '198.51.100.1', seconds: 60 }], 0)
  expect([
    learned.leads('a.example', '198.51.100.1'),
    learned.leadsSurely('a.example', '198.51.100.1'),
  ]).toEqual([true, false])
  learned.note('a.example', ['198.51.100.1'], 60, 0)
  expect(learned.leadsSurely('a.example', '198.51.100.1')).toBe(true)
  expect(learned.leadsSurely('b.example', '198.51.100.1')).toBe(false)
})

test('an address that the operator has pinned is that of its name without an answer, and of no other', () => {
  const learned = new Learned(new Map([['a.test', '198.51.100.1']]))
  expect([learned.leads('a.test', '198.51.100.1'), learned.leadsSurely('a.test', '198.51.100.1')]).toEqual([
    true,
    true,
  ])
  expect(learned.leads('b.test', '198.51.100.1')).toBe(false)
})

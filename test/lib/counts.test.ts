import { expect, test } from 'vitest'
import { Counts } from '../../lib/counts.ts'

test('counts each and all together, until they are given back', () => {
  const counts = new Counts()
  const [first, second] = [counts.add('a'), counts.add('a')]
  counts.add('b')
  expect([counts.of('a'), counts.of('b'), counts.of('c'), counts.total]).toEqual([2, 1, 0, 3])
  first()
  expect([counts.of('a'), counts.total]).toEqual([1, 2])
  second()
  expect([...counts.keys()]).toEqual(['b'])
})

test('what is given back twice counts once', () => {
  const counts = new Counts()
  const leave = counts.add('a')
  counts.add('a')
  leave()
  leave()
  expect([counts.of('a'), counts.total]).toEqual([1, 1])
})

import { expect, test } from 'vitest'
import { SharedCache } from '../../lib/shared-cache.ts'

const fill = (cache: SharedCache<number>, whose: string, count: number) => {
  for (let index = 0; index < count; index++) cache.set(whose, `${whose}${index}`, index)
}
const keptOf = (cache: SharedCache<number>, whose: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${whose}${index}`).filter(
    (key) => cache.get(key) !== undefined,
  )

test('who has its share loses its own oldest, and nobody else anything', () => {
  const cache = new SharedCache<number>({ each: 3, total: 100 })
  fill(cache, 'quiet', 2)
  fill(cache, 'loud', 50)
  expect(keptOf(cache, 'quiet', 2)).toEqual(['quiet0', 'quiet1'])
  expect(keptOf(cache, 'loud', 50)).toEqual(['loud47', 'loud48', 'loud49'])
})

test('when all together are too many, whoever has most loses its oldest', () => {
  const cache = new SharedCache<number>({ each: 8, total: 10 })
  fill(cache, 'loud', 8)
  fill(cache, 'quiet', 4)
  expect(cache.size).toBe(10)
  expect(keptOf(cache, 'quiet', 4)).toHaveLength(4)
  expect(keptOf(cache, 'loud', 8)).toEqual(['loud2', 'loud3', 'loud4', 'loud5', 'loud6', 'loud7'])
})

test('what was asked for last is the newest', () => {
  const cache = new SharedCache<number>({ each: 2, total: 10 })
  fill(cache, 'a', 2)
  expect(cache.get('a0')).toBe(0)
  cache.set('a', 'a2', 2)
  expect(keptOf(cache, 'a', 3)).toEqual(['a0', 'a2'])
})

test('what is set anew is in the share of who did it, and what is removed leaves room', () => {
  const cache = new SharedCache<number>({ each: 2, total: 10 })
  cache.set('a', 'key', 1)
  cache.set('b', 'key', 2)
  fill(cache, 'a', 2)
  expect([cache.get('key'), cache.size]).toEqual([2, 3])
  cache.delete('a0')
  cache.set('a', 'a9', 9)
  expect([cache.get('a1'), cache.get('a9')]).toEqual([1, 9])
  cache.removeAll('a')
  expect([cache.size, cache.get('a9'), cache.get('key')]).toEqual([1, undefined, 2])
})

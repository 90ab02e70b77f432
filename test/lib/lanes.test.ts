import { expect, test } from 'vitest'
import { Lanes } from '../../lib/lanes.ts'

test('each may have as many as are left free', () => {
  const lanes = new Lanes(12)
  const takeAll = (tenant: string) => {
    const taken: (() => void)[] = []
    while (lanes.isOpenTo(tenant)) taken.push(lanes.take(tenant))
    return taken
  }
  const red = takeAll('red')
  expect([red.length, lanes.free, lanes.full()]).toEqual([6, 6, ['red']])
  const blue = takeAll('blue')
  expect([blue.length, lanes.free]).toEqual([3, 3])
  expect(takeAll('green')).toHaveLength(2)
  expect(lanes.isOpenTo('white')).toBe(true)
  for (const leave of [...red, ...blue]) leave()
  expect([lanes.free, lanes.full()]).toEqual([10, []])
})

test('where one alone may have so many, it has no more, and the others what is left', () => {
  const lanes = new Lanes(12, { each: 2 })
  const takeAll = (tenant: string) => {
    let count = 0
    for (; lanes.isOpenTo(tenant); count++) lanes.take(tenant)
    return count
  }
  expect(['red', 'blue', 'green', 'white', 'black', 'grey'].map(takeAll)).toEqual([2, 2, 2, 2, 2, 1])
})

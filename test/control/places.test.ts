// Who gets a place, and when.

import { expect, test } from 'vitest'
import { Places } from '../../control/runtime/places.ts'

const never = new AbortController().signal

/** Asks for places by name and notes who gets one. */
function ask(places: Places) {
  const entered: string[] = []
  const leave = new Map<string, () => void>()
  return {
    entered,
    ask: (name: string, whose = 'one', signal = never) =>
      places.take(whose, signal).then((giveBack) => {
        entered.push(name)
        leave.set(name, giveBack)
      }),
    leave: async (name: string) => {
      leave.get(name)?.()
      await Promise.resolve()
    },
  }
}

test('so many get in at once, and the next when one leaves, in the order in which they came', async () => {
  const { ask: come, leave, entered } = ask(new Places(2))
  const all = ['a', 'b', 'c', 'd'].map((name) => come(name))
  await Promise.all(all.slice(0, 2))
  expect(entered).toEqual(['a', 'b'])
  await leave('b')
  await all[2]
  await leave('a')
  await all[3]
  expect(entered).toEqual(['a', 'b', 'c', 'd'])
})

test('a place that is given back twice is one place', async () => {
  const { ask: come, leave, entered } = ask(new Places(1))
  const all = ['a', 'b', 'c'].map((name) => come(name))
  await all[0]
  await leave('a')
  await leave('a')
  await all[1]
  expect(entered).toEqual(['a', 'b'])
  await leave('b')
  await all[2]
})

test('who has many waiting does not keep another one from the next place but one', async () => {
  const { ask: come, leave, entered } = ask(new Places(1))
  const many = ['a1', 'a2', 'a3', 'a4'].map((name) => come(name, 'a'))
  const few = ['b1', 'b2'].map((name) => come(name, 'b'))
  await many[0]
  for (const name of ['a1', 'a2', 'b1', 'a3', 'b2']) await leave(name)
  await Promise.all([...many, ...few])
  expect(entered).toEqual(['a1', 'a2', 'b1', 'a3', 'b2', 'a4'])
})

test('who stops waiting gets none, and takes none from others', async () => {
  const { ask: come, leave, entered } = ask(new Places(1))
  const stopped = new AbortController()
  const first = come('a')
  const second = come('b', 'one', stopped.signal)
  const third = come('c', 'other')
  await first
  const reason = new Error('not wanted any more')
  stopped.abort(reason)
  await expect(second).rejects.toBe(reason)
  await expect(come('d', 'one', stopped.signal)).rejects.toBe(reason)
  await leave('a')
  await third
  await leave('c')
  await come('e')
  expect(entered).toEqual(['a', 'c', 'e'])
})

import { expect, test } from 'vitest'
import { LaneQueue } from '../../lib/lane-queue.ts'
import { Lanes } from '../../lib/lanes.ts'

const never = new AbortController().signal

test('what finds no place waits for one of its own, and nobody behind it', async () => {
  const queue = new LaneQueue(new Lanes(100, { each: 2 }))
  const begun: string[] = []
  const enter = async (whose: string, name: string) => {
    const leave = await queue.enter(whose, never)
    begun.push(name)
    return leave
  }
  const [first, second] = await Promise.all([enter('loud', 'l1'), enter('loud', 'l2')])
  const third = enter('loud', 'l3')
  const fourth = enter('loud', 'l4')
  await enter('quiet', 'q1')
  expect(begun).toEqual(['l1', 'l2', 'q1'])
  expect([queue.waiting, queue.tryEnter('loud'), queue.tryEnter('quiet') !== undefined]).toEqual([
    2,
    undefined,
    true,
  ])
  first()
  // Giving back twice makes no second place.
  first()
  await third
  expect(begun).toEqual(['l1', 'l2', 'q1', 'l3'])
  second()
  await fourth
  expect(queue.waiting).toBe(0)
})

test('who gives up leaves its place in the queue', async () => {
  const queue = new LaneQueue(new Lanes(100, { each: 1 }))
  const leave = await queue.enter('a', never)
  const controller = new AbortController()
  const impatient = queue.enter('a', controller.signal)
  const patient = queue.enter('a', never)
  controller.abort(new Error('too late'))
  await expect(impatient).rejects.toThrow('too late')
  leave()
  await patient
  expect(queue.waiting).toBe(0)
  await expect(queue.enter('b', controller.signal)).rejects.toThrow('too late')
})

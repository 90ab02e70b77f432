import { expect, test } from 'vitest'
import { Turns } from '../../../execd/session/turns.ts'

const staying = () => new AbortController().signal

test('turns are taken one at a time, in the order of asking', async () => {
  const turns = new Turns(10)
  const order: number[] = []
  const all = [1, 2, 3].map(async (number) => {
    expect(await turns.take(staying())).toBe(true)
    order.push(number)
    await Promise.resolve()
    expect(turns.isTaken).toBe(true)
    turns.give()
  })
  expect(turns.waiting).toBe(2)
  await Promise.all(all)
  expect(order).toEqual([1, 2, 3])
  expect([turns.isTaken, turns.waiting]).toEqual([false, 0])
})

test('who leaves before its turn is out at once, and the next has it', async () => {
  const turns = new Turns(2)
  const leaving = new AbortController()
  await turns.take(staying())
  const left = turns.take(leaving.signal)
  const next = turns.take(staying())
  expect(turns.isFull).toBe(true)
  leaving.abort()
  expect(await left).toBe(false)
  expect([turns.isFull, turns.waiting]).toEqual([false, 1])
  turns.give()
  expect(await next).toBe(true)
  expect(await turns.take(leaving.signal)).toBe(false)
  // Once it has the turn, leaving is nobody's business here.
  const late = new AbortController()
  const last = turns.take(late.signal)
  turns.give()
  expect(await last).toBe(true)
  late.abort()
  expect(turns.isTaken).toBe(true)
})

import { expect, test } from 'vitest'
import { backoffMs, eachOf, pause, settlesWithin } from '../../control/async.ts'

test('backoffMs() doubles to a bound, and is up to a half shorter by chance', () => {
  const pauses = { firstMs: 250, longestMs: 30_000 }
  expect([1, 2, 3, 50].map((failures) => backoffMs(pauses, failures, 0))).toEqual([250, 500, 1000, 30_000])
  expect([1, 2, 50].map((failures) => backoffMs(pauses, failures, 1))).toEqual([125, 250, 15_000])
})

test('eachOf() does everything, and no more at once than it may', async () => {
  let running = 0
  let most = 0
  const done: number[] = []
  await eachOf([1, 2, 3, 4, 5], 2, async (item) => {
    most = Math.max(most, ++running)
    await Promise.resolve()
    running--
    done.push(item)
  })
  expect(done.sort()).toEqual([1, 2, 3, 4, 5])
  expect(most).toBe(2)
})

test('settlesWithin() tells whether something came to an end, however it did', async () => {
  expect(await settlesWithin(Promise.resolve(), 60_000)).toBe(true)
  expect(await settlesWithin(Promise.reject(new Error('failed')), 60_000)).toBe(true)
  expect(await settlesWithin(new Promise(() => {}), 1)).toBe(false)
})

test('pause() ends with the signal, without an error', async () => {
  await expect(pause(60_000, AbortSignal.abort())).resolves.toBeUndefined()
})

import { expect, test } from 'vitest'
import { Exclusive } from '../../../control/runtime/exclusive.ts'

test('what waits for its turn gives up with its signal, and what comes after it still waits for the first', async () => {
  const exclusive = new Exclusive()
  const gate = Promise.withResolvers<void>()
  const done: string[] = []
  const first = exclusive.run('a', async () => {
    await gate.promise
    done.push('first')
  })
  const leaving = new AbortController()
  const second = exclusive.run('a', async () => void done.push('second'), leaving.signal)
  const third = exclusive.run('a', async () => void done.push('third'))
  leaving.abort(new Error('too long'))
  await expect(second).rejects.toThrow('too long')
  gate.resolve()
  await Promise.all([first, third])
  expect(done).toEqual(['first', 'third'])
})

test('what has come too late is not begun', async () => {
  const done: string[] = []
  const late = new Exclusive().run(
    'a',
    async () => void done.push('late'),
    AbortSignal.abort(new Error('late')),
  )
  await expect(late).rejects.toThrow('late')
  expect(done).toEqual([])
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRunning, parseStat, readProcess, readProcesses } from '../../../execd/command/process-table.ts'

const REST = '0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3'

describe('parseStat()', () => {
  test.each([
    [`42 (sleep) S 7 42 40 ${REST}`, 'S'],
    [`42 (a) b (c)) R 7 42 40 ${REST}`, 'R'],
    [`42 (x\n) Z 1 1 1 () Z 7 42 40 ${REST}`, 'Z'],
  ])('reads %j', (text, state) => {
    expect(parseStat(text)).toEqual({ pid: 42, parent: 7, group: 42, session: 40, startTime: 987654, state })
  })

  test.each(['', '42', '42 (sleep', '42 (sleep) S', 'x (sleep) S 1 2 3'])('refuses %j', (text) => {
    expect(parseStat(text)).toBeUndefined()
  })

  test('is not misled by the name that a program chooses', () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        expect(parseStat(`42 (${name}) S 7 42 40 ${REST}`)).toMatchObject({ pid: 42, parent: 7, state: 'S' })
      }),
    )
  })
})

test('readProcesses() has this process with its parent, and a number with its start time names one for ever', async () => {
  const own = readProcesses().find(({ pid }) => pid === process.pid)
  expect(own).toMatchObject({ parent: process.ppid, state: expect.stringMatching(/[RS]/) })
  const child = spawn('sleep', ['1000'])
  await once(child, 'spawn')
  const seen = readProcess(child.pid ?? 0)
  if (!seen) throw new Error('The child is not there')
  expect(isRunning(seen)).toBe(true)
  expect(isRunning({ ...seen, startTime: seen.startTime - 1 })).toBe(false)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(isRunning(seen)).toBe(false)
  expect(readProcess(seen.pid)).toBeUndefined()
})

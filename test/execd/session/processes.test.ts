import { describe, expect, test } from 'vitest'
import type { SeenProcess } from '../../../execd/command/process-scanner.ts'
import { childrenOf, findRunProcesses, keyOf } from '../../../execd/session/processes.ts'

const SHELL = { pid: 100, startTime: 1 }

function process(pid: number, parent: number, more: Partial<SeenProcess> = {}): SeenProcess {
  return { pid, parent, group: 100, session: 100, startTime: pid, state: 'S', marks: {}, ...more }
}

const shell = process(100, 1, { startTime: 1 })

function find(processes: SeenProcess[], earlier: number[] = [], known: string[] = []): number[] {
  const origin = { shell: SHELL, earlier: new Set(earlier), mark: 'mine' }
  return findRunProcesses([process(1, 0), shell, ...processes], origin, new Set(known)).map(({ pid }) => pid)
}

describe('the processes of a run', () => {
  test('are the children of the shell and all below them, and not the shell', () => {
    expect(find([process(101, 100), process(102, 101), process(103, 102, { session: 103 })])).toEqual([
      101, 102, 103,
    ])
  })

  test('are not those that earlier runs have left, nor what is below them', () => {
    expect(find([process(101, 100), process(102, 101), process(103, 100)], [101])).toEqual([103])
    const ofEarlier = { marks: { command: 'another' } }
    expect(find([process(101, 1, ofEarlier), process(102, 101, ofEarlier)])).toEqual([])
  })

  test('are what carries the mark, wherever it is, with what is below', () => {
    expect(find([process(101, 1, { session: 101, marks: { command: 'mine' } }), process(102, 101)])).toEqual([
      101, 102,
    ])
  })

  test('are what was known to be theirs, by number and start', () => {
    const orphan = process(101, 1)
    expect(find([orphan, process(102, 101)], [], [keyOf(orphan)])).toEqual([101, 102])
    expect(find([process(101, 1, { startTime: 7 })], [], [keyOf(orphan)])).toEqual([])
  })

  test('are not children of another process with the number of the shell, or of a parent', () => {
    const origin = { shell: { pid: 100, startTime: 5 }, earlier: new Set<number>(), mark: 'mine' }
    expect(findRunProcesses([shell, process(101, 100)], origin)).toEqual([])
    expect(find([process(103, 100), process(102, 103)])).toEqual([103])
  })

  test('are not those that have ended, but what is below those still is', () => {
    expect(find([process(101, 100, { state: 'Z' }), process(102, 101)])).toEqual([102])
  })
})

test('childrenOf() knows a child while it is there', async () => {
  const { spawn } = await import('node:child_process')
  const child = spawn('sleep', ['100'])
  expect([...childrenOf(globalThis.process.pid)]).toContain(child.pid)
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
  expect([...childrenOf(globalThis.process.pid)]).not.toContain(child.pid)
  expect([...childrenOf(2 ** 22)]).toEqual([])
})

import { expect, onTestFinished, test, vi } from 'vitest'
import { saveMemory } from '../../egress/save-memory.ts'

test('memory is saved when nothing was relayed for a minute, and not while something is', () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const end = new AbortController()
  const flags: string[] = []
  let connections = 0
  saveMemory({ connections: () => connections, signal: end.signal, setFlag: (flag) => flags.push(flag) })
  expect(flags).toEqual(['--optimize-for-size'])
  vi.advanceTimersByTime(5000)
  connections = 3
  vi.advanceTimersByTime(5000)
  connections = 0
  vi.advanceTimersByTime(50_000)
  expect(flags).toEqual(['--optimize-for-size', '--no-optimize-for-size'])
  vi.advanceTimersByTime(10_000)
  expect(flags).toEqual(['--optimize-for-size', '--no-optimize-for-size', '--optimize-for-size'])
  end.abort()
  connections = 1
  vi.advanceTimersByTime(5000)
  expect(flags).toHaveLength(3)
})

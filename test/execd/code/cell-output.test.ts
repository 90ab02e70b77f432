// Bytes of a cell as text.

import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { CellOutput } from '../../../execd/code/builtin/cell-output.ts'
import type { CellEvent } from '../../../execd/code/engine.ts'

const textOf = (events: CellEvent[], type: 'stdout' | 'stderr') =>
  events.map((event) => (event.type === type ? event.text : '')).join('')

test('any bytes in any pieces come back as the text of all of them', () => {
  const piece = fc.record({
    name: fc.constantFrom('stdout' as const, 'stderr' as const),
    bytes: fc.oneof(
      fc.uint8Array({ maxLength: 8 }),
      fc.string({ unit: 'grapheme', maxLength: 4 }).map((text) => Buffer.from(text)),
    ),
    isFlushed: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const events: CellEvent[] = []
      const output = new CellOutput((event) => {
        events.push(event)
      })
      for (const { name, bytes, isFlushed } of pieces) {
        output.write(name, Buffer.from(bytes))
        if (isFlushed) output.flush()
      }
      output.end()
      for (const name of ['stdout', 'stderr'] as const) {
        const all = Buffer.concat(pieces.filter((one) => one.name === name).map(({ bytes }) => bytes))
        expect(textOf(events, name)).toBe(all.toString('utf8'))
      }
    }),
  )
})

test('both streams stay in order, and pieces of one become one event', () => {
  const events: CellEvent[] = []
  const output = new CellOutput((event) => {
    events.push(event)
  })
  for (const [name, text] of [
    ['stdout', 'a'],
    ['stdout', 'b'],
    ['stderr', 'c'],
    ['stdout', 'd'],
  ] as const)
    output.write(name, Buffer.from(text))
  output.put({ type: 'execution_count', count: 1 })
  expect(events).toEqual([
    { type: 'stdout', text: 'ab' },
    { type: 'stderr', text: 'c' },
    { type: 'stdout', text: 'd' },
    { type: 'execution_count', count: 1 },
  ])
})

test('what waits for more is told after a moment', () => {
  vi.useFakeTimers()
  const events: CellEvent[] = []
  const output = new CellOutput((event) => {
    events.push(event)
  })
  output.write('stdout', Buffer.from('half a line'))
  expect(events).toEqual([])
  vi.advanceTimersByTime(20)
  expect(events).toEqual([{ type: 'stdout', text: 'half a line' }])
  vi.useRealTimers()
})

test('a sink that is not ready holds the writer back, and one that fails does not for ever', async () => {
  const taken = Promise.withResolvers<void>()
  const output = new CellOutput(() => taken.promise)
  expect(output.write('stdout', Buffer.alloc(100_000, 'x'))).toBe(false)
  taken.reject(new Error('gone'))
  await output.drained()
  expect(output.write('stdout', Buffer.from('y'))).toBe(true)
})

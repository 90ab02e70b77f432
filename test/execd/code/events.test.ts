// Events of cells as clients get them: whatever a cell says, each line can be read by every client, and no text is lost.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CellEvent } from '../../../execd/code/engine.ts'
import { toStreamEvents, toWireResults } from '../../../execd/code/events.ts'
import { formatEvent } from '../../../lib/sse.ts'

/** The Go client stops at a longer line. */
const MAX_LINE_BYTES = 4 << 20

const lines = (event: CellEvent) => toStreamEvents(event, 1).map(formatEvent)
const longestLine = (event: CellEvent) => Math.max(...lines(event).map((line) => Buffer.byteLength(line)))

/** A text of up to some million units, from few. */
const longText = fc
  .tuple(fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }), fc.integer({ min: 0, max: 600_000 }))
  .map(([text, times]) => text.repeat(times))

describe('output', () => {
  test('keeps every character over all events, and no event is too long', () => {
    fc.assert(
      fc.property(longText, (text) => {
        const event: CellEvent = { type: 'stdout', text }
        const events = toStreamEvents(event, 1)
        expect(events.map((one) => ('text' in one ? one.text : '')).join('') === text.toWellFormed()).toBe(
          true,
        )
        for (const one of events) expect('text' in one && one.text.isWellFormed()).toBe(true)
        if (text !== '') expect(longestLine(event)).toBeLessThan(MAX_LINE_BYTES)
      }),
      { numRuns: 30 },
    )
  })

  test('that is empty is no event', () => {
    expect(toStreamEvents({ type: 'stderr', text: '' }, 1)).toEqual([])
  })

  test('of control characters, which take six bytes each, fits as well', () => {
    expect(longestLine({ type: 'stdout', text: '\u0001'.repeat(2_000_000) })).toBeLessThan(MAX_LINE_BYTES)
  })
})

describe('results', () => {
  test('J7: plain text stands under both names, other types as they are', () => {
    expect(toWireResults({ 'text/plain': '4', 'text/html': '<b>4</b>' })).toEqual({
      text: '4',
      'text/plain': '4',
      'text/html': '<b>4</b>',
    })
    expect(toWireResults({ 'image/png': 'AAAA' })).toEqual({ 'image/png': 'AAAA' })
  })

  test('J7: what is too long is cut or left out, with a word on it, and a line stays readable', () => {
    const image = 'A'.repeat(5_000_000)
    const results = toWireResults({ 'text/plain': '<Figure>', 'image/png': image, 'text/html': 'x' })
    expect(results['image/png']).toBeUndefined()
    expect(results['text/html']).toBe('x')
    expect(results.text).toMatch(/^<Figure>\n\[image\/png with \d+ bytes is left out/)
    const cut = toWireResults({ 'text/plain': 'y'.repeat(5_000_000) })
    expect(cut.text).toMatch(/^y{100000,}… \(\d+ characters more\)$/)
  })

  test('J7: of any kind and size are lines that every client can read', () => {
    const bundle = fc.dictionary(fc.constantFrom('text/plain', 'text/html', 'image/png', 'a/b'), longText)
    fc.assert(
      fc.property(bundle, (results) => {
        expect(longestLine({ type: 'result', results })).toBeLessThan(MAX_LINE_BYTES)
        for (const text of Object.values(toWireResults(results))) expect(text.isWellFormed()).toBe(true)
      }),
      { numRuns: 30 },
    )
  })
})

describe('errors', () => {
  test('J6: have a status before them', () => {
    const error = { ename: 'E', evalue: 'v', traceback: ['a'] }
    expect(toStreamEvents({ type: 'error', error }, 1)).toEqual([
      { type: 'status', text: 'error', timestamp: 1 },
      { type: 'error', error, timestamp: 1 },
    ])
  })

  test('of any size are lines that every client can read', () => {
    fc.assert(
      fc.property(longText, longText, fc.array(longText, { maxLength: 5 }), (ename, evalue, traceback) => {
        expect(longestLine({ type: 'error', error: { ename, evalue, traceback } })).toBeLessThan(
          MAX_LINE_BYTES,
        )
      }),
      { numRuns: 30 },
    )
  })

  test('with a name that is empty have one all the same', () => {
    const [, error] = toStreamEvents({ type: 'error', error: { ename: '', evalue: '', traceback: [] } }, 1)
    expect(error).toMatchObject({ error: { ename: 'Error' } })
  })
})

test('a count that is no count is not told', () => {
  expect(toStreamEvents({ type: 'execution_count', count: 0 }, 1)).toEqual([])
  expect(toStreamEvents({ type: 'execution_count', count: 2 }, 1)).toEqual([
    { type: 'execution_count', execution_count: 2, timestamp: 1 },
  ])
})

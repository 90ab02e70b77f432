import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatTraceContext, parseTraceContext } from '../../../control/observe/trace-context.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

test.each([
  ['sampled', `00-${TRACE}-${SPAN}-01`, true],
  ['not sampled', `00-${TRACE}-${SPAN}-00`, false],
  ['with blanks around it', ` 00-${TRACE}-${SPAN}-01 `, true],
  ['flags of later days', `00-${TRACE}-${SPAN}-ff`, true],
  ['a later version', `cc-${TRACE}-${SPAN}-01`, true],
  ['a later version with more', `cc-${TRACE}-${SPAN}-01-what-the-future-brings`, true],
])('parseTraceContext() takes one that is %s', (_what, header, isSampled) => {
  expect(parseTraceContext(header)).toEqual({ traceId: TRACE, spanId: SPAN, isSampled })
})

test.each([
  ['none', undefined],
  ['empty', ''],
  ['no trace', `00-${'0'.repeat(32)}-${SPAN}-01`],
  ['no span', `00-${TRACE}-${'0'.repeat(16)}-01`],
  ['version ff', `ff-${TRACE}-${SPAN}-01`],
  ['the first version with more', `00-${TRACE}-${SPAN}-01-more`],
  ['upper case', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
  ['too short', `00-${TRACE}-${SPAN}`],
  ['a line that follows', `00-${TRACE}-${SPAN}-01\nX: y`],
  ['endless', `cc-${TRACE}-${SPAN}-01-${'x'.repeat(1000)}`],
])('parseTraceContext() refuses one that is %s', (_what, header) => {
  expect(parseTraceContext(header)).toBeUndefined()
})

test.each([
  ['congo=t61rcWkgMzE', 'congo=t61rcWkgMzE'],
  ['', undefined],
  ['a=b\r\nX: y', undefined],
  ['a='.padEnd(600, 'x'), undefined],
])('tracestate %j is passed on as %j', (state, expected) => {
  expect(parseTraceContext(`00-${TRACE}-${SPAN}-01`, state)?.state).toBe(expected)
})

test('what is formatted can be parsed', () => {
  const hex = (length: number) =>
    fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`)).filter((text) => /[^0]/.test(text))
  fc.assert(
    fc.property(hex(32), hex(16), fc.boolean(), (traceId, spanId, isSampled) => {
      const context = { traceId, spanId, isSampled }
      expect(parseTraceContext(formatTraceContext(context).traceparent)).toEqual(context)
    }),
  )
})

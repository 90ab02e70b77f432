import { expect, test } from 'vitest'
import { toAttributes, toNanoseconds } from '../../../lib/otlp/format.ts'
import { formatTraces } from '../../../lib/otlp/traces.ts'

test.each([
  [0, '0'],
  [1, '1000000'],
  [1_700_000_000_123, '1700000000123000000'],
  [1_700_000_000_123.5, '1700000000123500000'],
])('toNanoseconds(%d) is %s', (ms, text) => {
  expect(toNanoseconds(ms)).toBe(text)
})

test('attributes keep their types', () => {
  expect(toAttributes({ text: 'a', number: 3, yes: true })).toEqual([
    { key: 'text', value: { stringValue: 'a' } },
    { key: 'number', value: { intValue: '3' } },
    { key: 'yes', value: { boolValue: true } },
  ])
})

test('a span has its parent only when there is one, and a status only when it failed', () => {
  const span = {
    traceId: 'a'.repeat(32),
    spanId: 'b'.repeat(16),
    name: 'GET /health',
    kind: 'server' as const,
    startMs: 1,
    endMs: 2,
    attributes: {},
    isFailed: false,
  }
  const [first, second] =
    (
      formatTraces({
        scope: 'here',
        resource: {},
        spans: [span, { ...span, parentSpanId: 'c'.repeat(16), isFailed: true }],
      }) as { resourceSpans: { scopeSpans: { spans: object[] }[] }[] }
    ).resourceSpans[0]?.scopeSpans[0]?.spans ?? []
  expect(first).toMatchObject({ kind: 2, startTimeUnixNano: '1000000', status: {} })
  expect(first).not.toHaveProperty('parentSpanId')
  expect(second).toMatchObject({ parentSpanId: 'c'.repeat(16), status: { code: 2 } })
})

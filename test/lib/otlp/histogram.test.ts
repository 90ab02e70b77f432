import { expect, test } from 'vitest'
import { BOUNDS, Histogram } from '../../../lib/otlp/histogram.ts'

test('counts each value in the bucket that it does not exceed', () => {
  const histogram = new Histogram()
  for (const value of [0, 0.5, 5, 5.1, 10_000, 10_001]) histogram.record(value, { a: 'x' })
  const [series] = histogram.series
  expect(series).toMatchObject({ attributes: { a: 'x' }, count: 6, sum: 20_011.6, min: 0, max: 10_001 })
  const expected = BOUNDS.map(() => 0).concat(0)
  expected[0] = 1
  expected[1] = 2
  expected[2] = 1
  expected[BOUNDS.length - 1] = 1
  expected[BOUNDS.length] = 1
  expect(series?.buckets).toEqual(expected)
})

test('keeps what differs apart', () => {
  const histogram = new Histogram()
  histogram.record(1, { a: 'x', b: 1 })
  histogram.record(1, { a: 'x', b: 2 })
  histogram.record(1, { a: 'x', b: 1 })
  expect(histogram.series.map(({ attributes, count }) => [attributes.b, count])).toEqual([
    [1, 2],
    [2, 1],
  ])
})

test('is bounded: what is too much is told as one', () => {
  const histogram = new Histogram()
  for (let index = 0; index < 5000; index++) histogram.record(1, { index })
  expect(histogram.series.length).toBe(1000)
  expect(histogram.series.at(-1)).toMatchObject({
    attributes: { 'otel.metric.overflow': 'true' },
    count: 4001,
  })
})

import { expect, test } from 'vitest'
import { ByteMeter } from '../../../gateway/relay/byte-meter.ts'

test('a ByteMeter counts for each request what has passed since the one before', () => {
  const meter = new ByteMeter()
  meter.bytesIn += 100
  meter.bytesOut += 50
  expect(meter.take()).toEqual({ bytesIn: 100, bytesOut: 50 })
  meter.bytesIn += 7
  expect(meter.take()).toEqual({ bytesIn: 7, bytesOut: 0 })
})

test('a ByteMeter says once that something has moved, whoever takes what has passed', () => {
  const meter = new ByteMeter()
  expect(meter.hasMoved()).toBe(false)
  meter.bytesOut = 1
  meter.take()
  expect(meter.hasMoved()).toBe(true)
  expect(meter.hasMoved()).toBe(false)
})

import { expect, test } from 'vitest'
import { ByteMeter } from '../../../gateway/relay/byte-meter.ts'

test('a ByteMeter counts for each request what has passed since the one before', () => {
  const socket = { bytesRead: 100, bytesWritten: 50 }
  const meter = new ByteMeter(socket)
  expect(meter.passed).toEqual({ bytesIn: 100, bytesOut: 50 })
  expect(meter.take()).toEqual({ bytesIn: 100, bytesOut: 50 })
  expect(meter.passed).toEqual({ bytesIn: 0, bytesOut: 0 })
  socket.bytesRead += 7
  expect(meter.take()).toEqual({ bytesIn: 7, bytesOut: 0 })
})

test('a ByteMeter says once that something has moved, whoever takes what has passed', () => {
  const socket = { bytesRead: 0, bytesWritten: 0 }
  const meter = new ByteMeter(socket)
  expect(meter.hasMoved()).toBe(false)
  socket.bytesWritten = 1
  meter.take()
  expect(meter.hasMoved()).toBe(true)
  expect(meter.hasMoved()).toBe(false)
})

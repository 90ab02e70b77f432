import { expect, test } from 'vitest'
import { ReceiveShares, shareLimits } from '../../../egress/http2/receive-shares.ts'
import { ReceiveWindow } from '../../../egress/http2/receive-window.ts'

const LIMITS = { bytes: 1600, firstBytes: 10, mostBytes: 200 }

function begin(shares: ReceiveShares): ReceiveWindow {
  shares.begin()
  return new ReceiveWindow(LIMITS.firstBytes)
}

/** Reads all of a window once, as it comes. */
function read(shares: ReceiveShares, window: ReceiveWindow): number {
  window.receive(window.bytes)
  window.letGo(window.bytes)
  window.grant(0)
  return shares.grow(window)
}

const KIB = 1024
test.each([
  ['a client', { isClient: true, mostBytes: 1024 * KIB }, { bytes: 4096 * KIB, firstBytes: 64 * KIB }],
  ['a client of many', { isClient: true, mostBytes: 64 * KIB }, { bytes: 256 * KIB, firstBytes: 64 * KIB }],
  ['a server', { isClient: false, mostBytes: 1024 * KIB }, { bytes: 16_384 * KIB, firstBytes: 64 * KIB }],
  [
    'a server of many',
    { isClient: false, mostBytes: 256 * KIB },
    { bytes: 4096 * KIB, firstBytes: 16 * KIB },
  ],
])('%s may send ahead', (_, of, expected) => {
  expect(shareLimits(of)).toMatchObject(expected)
})

test('streams begin as long as all of them can send as much as they may', () => {
  const shares = new ReceiveShares(LIMITS)
  expect([shares.hasRoomFor(160), shares.hasRoomFor(161)]).toEqual([true, false])
  for (let count = 0; count < 160; count++) shares.begin()
  expect(shares.hasRoomFor(1)).toBe(false)
})

test('one that is read may send as much as any may, and many that are leave half of it for new ones', () => {
  const shares = new ReceiveShares(LIMITS)
  const windows = Array.from({ length: 20 }, () => begin(shares))
  expect([read(shares, windows[0] as ReceiveWindow), windows[0]?.bytes]).toEqual([190, 200])
  for (let turn = 0; turn < 50; turn++) for (const window of windows) read(shares, window)
  const promised = windows.reduce((sum, { bytes }) => sum + bytes, 0)
  expect(promised).toBeLessThanOrEqual(LIMITS.bytes / 2 + 20 * LIMITS.firstBytes)
  expect(Math.max(...windows.map(({ bytes }) => bytes))).toBe(LIMITS.mostBytes)
  expect([shares.isClogged, shares.hasRoomFor(60)]).toEqual([true, true])
})

test('one that is read more slowly than it comes gets twice as much each time', () => {
  const shares = new ReceiveShares(LIMITS)
  const [slow, quick] = [begin(shares), begin(shares)]
  slow.receive(10)
  slow.letGo(7)
  quick.receive(10)
  quick.letGo(8)
  expect([shares.grow(slow), shares.grow(quick)]).toEqual([10, 190])
})

test('a stream begins with more when one before it had more, and no longer after many that had not', () => {
  const shares = new ReceiveShares(LIMITS)
  const large = begin(shares)
  expect(shares.growEarly(large)).toBe(0)
  read(shares, large)
  read(shares, large)
  shares.end(large)
  for (let count = 0; count < 16; count++) {
    const small = begin(shares)
    expect(shares.growEarly(small)).toBe(190)
    small.receive(10)
    small.letGo(10)
    shares.end(small)
  }
  expect(shares.growEarly(begin(shares))).toBe(0)
})

test('what a stream had is free when it ends, and what is held of it when that is let go', () => {
  const shares = new ReceiveShares({ ...LIMITS, bytes: 400 })
  const window = begin(shares)
  while (read(shares, window) > 0);
  window.receive(100)
  expect([window.bytes, shares.isClogged]).toEqual([200, true])
  shares.end(window)
  expect([shares.isClogged, shares.hasRoomFor(30), shares.hasRoomFor(31)]).toEqual([false, true, false])
  shares.letGo(window.letGo(100), { isOver: true })
  expect(shares.hasRoomFor(40)).toBe(true)
})

import { once } from 'node:events'
import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { writePiece } from '../../egress/write-piece.ts'

/** Takes nothing until it is told to. */
function openSlow() {
  const waiting: (() => void)[] = []
  const to = new Writable({
    highWaterMark: 65_536,
    write: (_chunk, _encoding, done) => void waiting.push(done),
  })
  return {
    to,
    takeAll: () => {
      for (let done = waiting.shift(); done; done = waiting.shift()) done()
    },
  }
}

test('of single bytes, few wait for who does not read, and more may come when they have gone', async () => {
  const { to, takeAll } = openSlow()
  let pieces = 1
  while (writePiece(to, Buffer.alloc(1))) pieces++
  expect(pieces).toBeLessThan(1000)
  const drained = once(to, 'drain')
  takeAll()
  await drained
  expect(to.writableLength).toBe(0)
  expect(writePiece(to, Buffer.alloc(1))).toBe(true)
})

test('of large pieces, as many wait as the stream holds', () => {
  const { to } = openSlow()
  let pieces = 1
  while (writePiece(to, Buffer.alloc(4096))) pieces++
  expect(pieces).toBe(16)
})

test('nothing is drained by an end that comes before', async () => {
  const { to } = openSlow()
  while (writePiece(to, Buffer.alloc(1)));
  let drains = 0
  to.on('drain', () => drains++)
  const closed = once(to, 'close')
  to.destroy()
  await closed
  expect(drains).toBe(0)
})

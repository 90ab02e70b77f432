import { Writable } from 'node:stream'
import { setImmediate as turnEnd } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { HeadedWriter } from '../../../egress/interception/headed-writer.ts'

/** What goes out at a time, as the sizes of its parts. */
function openSink() {
  const sizes: number[][] = []
  const to = new Writable({
    highWaterMark: 2 ** 20,
    writev(chunks, done) {
      sizes.push(chunks.map(({ chunk }) => chunk.length))
      done()
    },
  })
  return { to, sizes, writer: new HeadedWriter(to) }
}

test('a head and a small part are one piece, which goes out at once', () => {
  const { writer, sizes } = openSink()
  writer.addHead('HTTP/1.1 200 OK\r\n\r\n')
  writer.write(Buffer.from('body'))
  expect(sizes).toEqual([[23]])
})

test('large parts of one turn go out together at its end, in their order and with the head before them', async () => {
  const { writer, sizes } = openSink()
  writer.addHead('head')
  for (const length of [16_384, 16_000, 9000]) writer.write(Buffer.alloc(length))
  writer.write(Buffer.alloc(5))
  expect(sizes).toEqual([])
  await turnEnd()
  expect(sizes).toEqual([[4, 16_384, 16_000, 9000, 5]])
  writer.write(Buffer.alloc(5))
  expect(sizes.at(-1)).toEqual([5])
})

test('what waits for the end of its turn goes out when the connection is ended before', async () => {
  const { to, writer, sizes } = openSink()
  writer.write(Buffer.alloc(10_000))
  to.end()
  await turnEnd()
  expect(sizes).toEqual([[10_000]])
  expect(to.writableFinished).toBe(true)
})

import { expect, test } from 'vitest'
import { HeadBuffer } from '../../../egress/interception/head-buffer.ts'
import { MAX_HEAD_BYTES } from '../../../egress/interception/http1-head.ts'

const HEAD = 'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n'
const pushEach = (buffer: HeadBuffer, text: string, size: number) => {
  for (let at = 0; at < text.length; at += size) buffer.push(Buffer.from(text.slice(at, at + size), 'latin1'))
}
const takeAllHeads = (buffer: HeadBuffer) => {
  const heads: string[] = []
  for (let text = buffer.takeHead(); text !== undefined; text = buffer.takeHead()) heads.push(text)
  return heads
}

test.each(Array.from({ length: HEAD.length + 9 }, (_, size) => [size + 1]))(
  'heads in pieces of %i bytes are found as soon as they are whole, and what follows stays',
  (size) => {
    const buffer = new HeadBuffer()
    const text = `${HEAD}\r\n\r\n${HEAD}the rest`
    const heads: string[] = []
    for (let at = 0; at < text.length; at += size) {
      pushEach(buffer, text.slice(at, at + size), size)
      heads.push(...takeAllHeads(buffer))
    }
    expect(heads).toEqual([HEAD, '\r\n\r\n', HEAD])
    expect([buffer.takeAll().toString(), buffer.isEmpty]).toEqual(['the rest', true])
  },
)

test('a head that comes byte by byte is read like any other, and is full with one byte more than a head may have', () => {
  const buffer = new HeadBuffer()
  const long = `${HEAD.slice(0, -2)}X: ${'x'.repeat(MAX_HEAD_BYTES - HEAD.length - 5)}\r\n\r\n`
  let early = 0
  for (const byte of Buffer.from(long)) {
    if (buffer.takeHead() !== undefined) early++
    buffer.push(Buffer.of(byte))
  }
  expect([long.length, early, buffer.isFull]).toEqual([MAX_HEAD_BYTES, 0, false])
  expect(buffer.takeHead()).toBe(long)
  expect([buffer.isEmpty, buffer.isFull]).toEqual([true, false])
  pushEach(buffer, 'x'.repeat(MAX_HEAD_BYTES + 1), 1)
  expect([buffer.takeHead(), buffer.isFull]).toEqual([undefined, true])
})

test('what was given away stays as it is when more comes, and so does what came', () => {
  const buffer = new HeadBuffer()
  const first = Buffer.from('first')
  buffer.push(first)
  buffer.push(Buffer.from(' second'))
  const given = buffer.takeAll()
  for (const text of ['third', ' fourth', ' fifth']) buffer.push(Buffer.from(text))
  expect([first, given, buffer.takeAll()].map(String)).toEqual([
    'first',
    'first second',
    'third fourth fifth',
  ])
})

// The messages of kernel processes, which come from where code of users runs.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MessageReader, parseMessage } from '../../../execd/code/builtin/kernel-message.ts'

test.each([
  '{"op":"ready"}',
  '{"op":"ready","tellInterrupts":true}',
  '{"op":"sync","id":3}',
  '{"op":"count","cell":1,"count":1}',
  '{"op":"result","cell":1,"data":{"text/plain":"x"}}',
  '{"op":"error","cell":1,"ename":"E","evalue":"v","traceback":["a"]}',
  '{"op":"done","cell":1}',
])('%s is a message', (line) => {
  expect(parseMessage(line)).toEqual(JSON.parse(line))
})

test.each([
  ['', 'is not JSON'],
  ['nonsense', '"nonsense" is not JSON'],
  ['7', 'no "op"'],
  ['null', 'no "op"'],
  ['{"op":"exec","cell":1}', '"exec" is not as it must be'],
  ['{"op":"done"}', '"done"'],
  ['{"op":"done","cell":"1"}', '"done"'],
  ['{"op":"sync","id":1.5}', '"sync"'],
  ['{"op":"result","cell":1,"data":{"text/plain":7}}', '"result"'],
  ['{"op":"result","cell":1,"data":["x"]}', '"result"'],
  ['{"op":"error","cell":1,"ename":"E","evalue":"v","traceback":[1]}', '"error"'],
  ['{"op":"error","cell":1,"ename":"E","traceback":[]}', '"error"'],
])('%j is none', (line, reason) => {
  expect(() => parseMessage(line)).toThrow(reason)
})

test('no text makes parseMessage() do anything but give a message or throw an Error', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), (text) => {
      let given: unknown
      try {
        given = parseMessage(text)
      } catch (error) {
        expect(error).toBeInstanceOf(Error)
        expect(String(error).length).toBeLessThan(200)
        return
      }
      expect(given).toHaveProperty('op')
    }),
  )
})

test('lines come out as they went in, however they are cut', () => {
  const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' '))
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.integer({ min: 1, max: 9 })), (all, cuts) => {
      const bytes = Buffer.from(all.map((text) => `${text}\n`).join(''))
      const reader = new MessageReader()
      const found: string[] = []
      for (let at = 0, cut = 0; at < bytes.length; cut++) {
        const length = cuts[cut % Math.max(1, cuts.length)] ?? 5
        found.push(...reader.push(bytes.subarray(at, at + length)))
        at += length
      }
      expect(found).toEqual(all)
    }),
  )
})

test('a line without an end is not gathered for ever', () => {
  const reader = new MessageReader()
  const chunk = Buffer.alloc(16 << 20, 'x')
  expect(() => {
    for (let round = 0; round < 5; round++) reader.push(chunk)
  }).toThrow('more than')
})

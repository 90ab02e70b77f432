import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ReportReader } from '../../../execd/session/report.ts'

const read = (reader: ReportReader, ...chunks: string[]) =>
  chunks
    .flatMap((chunk) => reader.push(Buffer.from(chunk, 'latin1')))
    .map(({ bytes, isCut }) => [bytes.toString('latin1'), isCut])

describe('ReportReader', () => {
  test('gives fields when they are complete, however they are torn', () => {
    const reader = new ReportReader(100)
    expect(read(reader, 'a')).toEqual([])
    expect(read(reader, 'b\0c\0', '\0d')).toEqual([
      ['ab', false],
      ['c', false],
      ['', false],
    ])
    expect(read(reader, '', 'e\0')).toEqual([['de', false]])
  })

  test('holds no more of a field than its bound, and says so', () => {
    const reader = new ReportReader(4)
    expect(read(reader, 'abcd\0abcde\0', 'ab', 'cd', 'ef', '\0x\0')).toEqual([
      ['abcd', false],
      ['abcd', true],
      ['abcd', true],
      ['x', false],
    ])
  })

  test('gives back all fields of any stream', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ min: 1, max: 255 })), fc.array(fc.nat(20)), (fields, cuts) => {
        const stream = Buffer.concat(fields.flatMap((field) => [Buffer.from(field), Buffer.from([0])]))
        const reader = new ReportReader(1000)
        const got = []
        let at = 0
        for (const cut of [...cuts, stream.length]) {
          got.push(...reader.push(stream.subarray(at, at + cut)))
          at += cut
        }
        expect(got.map(({ bytes }) => [...bytes])).toEqual(fields.map((field) => [...field]))
      }),
    )
  })
})

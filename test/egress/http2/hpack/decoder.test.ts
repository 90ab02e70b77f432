import { expect, test } from 'vitest'
import { fromHex, indexed, openDecoder, pairs, sizeUpdate } from './blocks.ts'
import { RFC_EXAMPLES } from './rfc-examples.ts'

const FIRST_DYNAMIC = 62

test.each(RFC_EXAMPLES)('reads the example $name of RFC 7541', ({ tableLimit, blocks }) => {
  const decoder = openDecoder()
  if (tableLimit !== undefined) expect(decoder.decode(sizeUpdate(tableLimit))?.fields).toEqual([])
  for (const { hex, fields, table } of blocks) {
    expect(pairs(decoder.decode(fromHex(hex))?.fields)).toEqual(fields)
    expect(pairs(decoder.decode(Buffer.concat(table.map(askFor)))?.fields)).toEqual(table)
  }
  const { table, tableBytes } = blocks.at(-1)!
  // The table has just the size that the appendix tells: with one byte less its oldest entry leaves.
  expect(
    pairs(decoder.decode(Buffer.concat([sizeUpdate(tableBytes), ...table.map(askFor)]))?.fields),
  ).toEqual(table)
  if (table.length > 0) {
    const left = table.slice(0, -1)
    const one = Buffer.concat([sizeUpdate(tableBytes - 1), ...left.map(askFor)])
    expect(pairs(decoder.decode(one)?.fields)).toEqual(left)
    expect(decoder.decode(askFor(0, left.length))).toBe(undefined)
  }
})

function askFor(_field: unknown, place: number): Buffer {
  return indexed(FIRST_DYNAMIC + place)
}

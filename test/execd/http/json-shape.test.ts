import fc from 'fast-check'
import { expect, test } from 'vitest'
import { findExcess } from '../../../execd/http/json-shape.ts'

const LIMITS = { maxDepth: 3, maxValues: 12, maxMembers: 4 }

test.each([
  ['', undefined],
  ['"text"', undefined],
  ['[[[1]]]', undefined],
  ['[[[[1]]]]', 'The body may be nested 3 deep at most: found more'],
  ['[1,2,3,4]', undefined],
  ['[1,2,3,4,5]', 'The body may have 4 items at most: found 5'],
  ['[[1,2,3,4,5]]', 'A list in the body may have 4 items at most: found 5'],
  ['{"envs" : {"a":1,"b":2,"c":3,"d":4,"e":5}}', '"envs" may have 4 items at most: found 5'],
  ['{"a":[],"b":[1,2,3,4,5]}', '"b" may have 4 items at most: found 5'],
  ['{"a":[[1,2,3,4,5]]}', 'A list in the body may have 4 items at most: found 5'],
  ['[[1,2,3],[4,5,6],[7,8,9],[0]]', 'The body may have 12 values at most: found 15'],
  ['[,,,,,,,,,,,', 'The body may have 12 values at most: found 13'],
  [`[${',{}'.repeat(1000)}`, 'The body may have 12 values at most: found more than 120'],
  [`]${',{}'.repeat(1000)}`, undefined],
  // What is in a text is no structure.
  ['{"a":"[[[[,,,,,,,,,,,,,"}', undefined],
  ['["\\"[[[[","\\\\",2,3]', undefined],
  ['["\\\\",[[[1]]]]', 'The body may be nested 3 deep at most: found more'],
  ['"[[[[', undefined],
])('findExcess(%j) says %j', (text, wanted) => {
  expect(findExcess(Buffer.from(text), LIMITS)).toBe(wanted)
})

test('findExcess() allows just as much as a body has', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat(3), (value, indent) => {
      const bytes = Buffer.from(JSON.stringify(value, null, indent))
      const { depth, members } = measure(value)
      const limits = { maxDepth: depth, maxValues: 1000, maxMembers: members }
      expect(findExcess(bytes, limits)).toBeUndefined()
      if (depth > 0) expect(findExcess(bytes, { ...limits, maxDepth: depth - 1 })).toContain('deep')
      if (members > 1) expect(findExcess(bytes, { ...limits, maxMembers: members - 1 })).toContain('items')
    }),
  )
})

/** How deep a value is nested, and how many items the largest list or object in it has; an empty one counts as one. */
function measure(value: unknown): { depth: number; members: number } {
  if (typeof value !== 'object' || value === null) return { depth: 0, members: 0 }
  const inner = Object.values(value).map(measure)
  return {
    depth: 1 + Math.max(0, ...inner.map(({ depth }) => depth)),
    members: Math.max(1, inner.length, ...inner.map(({ members }) => members)),
  }
}

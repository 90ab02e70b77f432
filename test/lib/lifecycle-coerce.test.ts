import { expect, test } from 'vitest'
import { z } from 'zod'
import {
  bool,
  describeIssues,
  exactFields,
  fields,
  integer,
  summarizeIssues,
} from '../../lib/api/lifecycle-coerce.ts'

const schema = exactFields({
  maxItems: integer(0).optional(),
  isOpen: bool.optional(),
  size: integer(1, 9).optional(),
})

function issuesOf(value: unknown, of: z.ZodType = schema) {
  const { error } = of.safeParse(value)
  return error ? describeIssues(error, 'body') : []
}

test.each([
  [
    { maxItems: '120', isOpen: 'yes' },
    { maxItems: 120, isOpen: true },
  ],
  [
    { max_items: 5, is_open: 0 },
    { maxItems: 5, isOpen: false },
  ],
  [{ maxItems: null, isOpen: null }, {}],
  [{ maxItems: '7.0' }, { maxItems: 7 }],
  [{ maxItems: 1, max_items: 2 }, { maxItems: 1 }],
])('%j is read as %j', (given, read) => {
  expect(schema.parse(given)).toEqual(read)
})

test.each([
  [{ maxItems: -1 }, 'maxItems'],
  [{ maxItems: 1.5 }, 'maxItems'],
  [{ maxItems: 1e300 }, 'maxItems'],
  [{ size: 10 }, 'size'],
  [{ size: '10' }, 'size'],
  [{ isOpen: 'perhaps' }, 'isOpen'],
])('%j is refused once, naming %s', (given, field) => {
  expect(issuesOf(given).map(({ loc }) => loc)).toEqual([['body', field]])
})

test('a required field that is missing is said to be so', () => {
  expect(issuesOf({}, fields({ name: z.string() }))).toEqual([
    { type: 'missing', loc: ['body', 'name'], msg: 'is required' },
  ])
})

test('unknown fields are named one by one, in short, however long and many they are', () => {
  const long = 'x'.repeat(100_000)
  const issues = issuesOf(
    Object.fromEntries([long, ...Array.from({ length: 50 }, (_, n) => `f${n}`)].map((key) => [key, 1])),
  )
  expect(issues).toHaveLength(20)
  expect(issues[1]).toEqual({
    type: 'unrecognized_keys',
    loc: ['body', 'f0'],
    msg: 'is not a field of this request',
  })
  expect(JSON.stringify(issues).length).toBeLessThan(3000)
  expect(summarizeIssues(issues).length).toBeLessThan(500)
})

test('no value that was given is repeated', () => {
  const secret = 'hunter2'
  const strict = exactFields({
    a: z.enum(['x']),
    b: z.literal('y'),
    c: z.string().regex(/^\d+$/),
    d: z.array(z.int()),
  })
  const issues = issuesOf({ a: secret, b: secret, c: secret, d: [secret] }, strict)
  expect(issues).toHaveLength(4)
  expect(JSON.stringify(issues)).not.toContain(secret)
})

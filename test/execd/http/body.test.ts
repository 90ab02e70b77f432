import { expect, test } from 'vitest'
import { field } from '../../../execd/http/body.ts'

test.each([
  [{ cwd: '/a' }, '/a'],
  [{ CWD: '/a' }, '/a'],
  [{ cwd: null, Cwd: '/a' }, undefined],
  [{ other: 1 }, undefined],
])('field(%j, "cwd") is %s', (body, value) => {
  expect(field(body, 'cwd')).toBe(value)
})

test('field() does not search a body of a million keys for each name', () => {
  const body: Record<string, unknown> = { last: 1 }
  for (let number = 0; number < 100_000; number++) body[`Key${number}`] = number
  // Each look would take some ms; all of them would stop everyone else for minutes.
  for (let look = 0; look < 5000; look++) expect(field(body, `key${look}`)).toBe(look)
  expect(field(body, 'last')).toBe(1)
})

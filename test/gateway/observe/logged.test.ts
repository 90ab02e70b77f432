import { expect, test } from 'vitest'
import { loggedHost, loggedPath } from '../../../gateway/observe/logged.ts'

test.each([
  ['/a/b?c=secret', '/a/b'],
  ['/a/8000/1a2b3c/01234567a/x', '/a/8000/1a2b3c/…/x'],
  ['/a/8000/1a2b3c/01234567a', '/a/8000/1a2b3c/…'],
  ['/a/8000/1a2b3c/01234567ab/x', '/a/8000/1a2b3c/…/x'],
  ['/a/99999/1A2B3C/01234567A/x', '/a/99999/1A2B3C/…/x'],
  ['/v1/sandboxes/3f2b7c1e/x', '/v1/sandboxes/3f2b7c1e/x'],
  [`/${'x'.repeat(500)}`, `/${'x'.repeat(199)}`],
])('G4: the path %s is written as %s', (target, written) => {
  expect(loggedPath(target)).toBe(written)
})

test.each([
  ['a-8000.localhost:8080', 'a-8000.localhost:8080'],
  [
    '3f2b7c1e-0000-4000-8000-123456789abc-8080.localhost',
    '3f2b7c1e-0000-4000-8000-123456789abc-8080.localhost',
  ],
  ['a-8000-1a2b3c-01234567a.localhost:8080', 'a-8000-1a2b3c-….localhost:8080'],
  ['A-8000-1A2B3C-01234567A', 'A-8000-1A2B3C-…'],
])('G4: the host %s is written as %s', (host, written) => {
  expect(loggedHost(host)).toBe(written)
})

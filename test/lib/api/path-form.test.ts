import { expect, test } from 'vitest'
import { confineField } from '../../../lib/api/path-form.ts'

const PREFIX = '/sandboxes/a/proxy/8000'

test.each([
  ['content-type', 'text/html', 'text/html'],
  ['content-security-policy', "default-src 'self'", "default-src 'self'"],
  ['service-worker-allowed', '/', undefined],
  ['clear-site-data', '"*"', undefined],
  ['strict-transport-security', 'max-age=1', undefined],
  ['alt-svc', 'h2="evil.example:443"', undefined],
  ['report-to', '{}', undefined],
  ['nel', '{}', undefined],
  ['set-cookie', 'a=1', `a=1; Path=${PREFIX}/`],
  ['set-cookie', 'a=1; Path=/; HttpOnly', `a=1; HttpOnly; Path=${PREFIX}/`],
  ['set-cookie', 'a=1;path=/v1;PATH = /; Secure', `a=1; Secure; Path=${PREFIX}/`],
  ['set-cookie', 'a=1; Domain=example.com; Max-Age=3', `a=1; Max-Age=3; Path=${PREFIX}/`],
  ['set-cookie', 'a=1; domain; path', `a=1; Path=${PREFIX}/`],
  ['set-cookie', 'path=/x; SameSite=Lax', `path=/x; SameSite=Lax; Path=${PREFIX}/`],
])('by path %s: %s is %s', (key, value, passed) => {
  expect(confineField(key, value, PREFIX)).toBe(passed)
})

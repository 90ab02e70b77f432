import { expect, test } from 'vitest'
import {
  forwardedTrailers,
  isNamedBySecret,
  redact,
  redactedTrailers,
} from '../../../egress/interception/fields.ts'
import type { Injection } from '../../../egress/vault/port.ts'

const SECRET = 'tok!very/secret~1'
const INJECTION: Injection = {
  kind: 'inject',
  binding: 'b',
  revision: 1,
  headers: [['X-Key', SECRET]],
  substitutions: [],
  secrets: [SECRET, 'abc'],
}

test.each([
  [`a ${SECRET} b ${SECRET}`, 'a [REDACTED] b [REDACTED]'],
  ['/next?token=tok%21very%2Fsecret~1&x=1', '[REDACTED]'],
  ['/next?token=tok%21very%2fsecret%7e1', '[REDACTED]'],
  ['/next?to=%2F%3Ft%3Dtok%2521very%252Fsecret~1', '[REDACTED]'],
  ['/next?x=100%25', '/next?x=100%25'],
  ['nothing of it', 'nothing of it'],
])('C5: %j in an answer is told as %j', (text, told) => {
  expect(redact(text, INJECTION)).toBe(told)
})

test.each([
  [`X-${SECRET}`, true],
  [`x-${SECRET.toLowerCase()}`, true],
  ['x-other', false],
  // Too short to tell.
  ['x-abc', false],
])('C5: the name %j has a secret in it: %j', (name, isNamed) => {
  expect(isNamedBySecret(name, INJECTION)).toBe(isNamed)
})

test('C5: a field that has a secret in its name is not told', () => {
  expect(redactedTrailers(`X-${SECRET.replace('/', '')}: 1\r\n`, INJECTION)).toContain(': 1')
  const named = { ...INJECTION, secrets: ['tok!very'] }
  expect(redactedTrailers('X-Tok!very: 1\r\nX-Other: tok!very\r\n', named)).toBe('X-Other: [REDACTED]\r\n')
})

test('what may not come after a body goes no further, whoever gets a secret', () => {
  const lines =
    'Host: b.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nAuthorization: mine\r\n' +
    'X_HTTP_Method_Override: DELETE\r\nX-Original-URL: /admin\r\nX-Kept: 1\r\n'
  expect(forwardedTrailers(lines, undefined)).toBe('X-Kept: 1\r\n')
  expect(forwardedTrailers(`x_key: mine\r\n${lines}`, INJECTION)).toBe('X-Kept: 1\r\n')
})

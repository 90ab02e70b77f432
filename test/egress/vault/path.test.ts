import { describe, expect, test } from 'vitest'
import { fitsPatterns, parsePathPattern, patternsOverlap } from '../../../egress/vault/path.ts'

test.each([
  // pattern, path, answer
  ['/v1/*', '/v1/users', 'fits'],
  ['/v1/*', '/v1/', 'fits'],
  ['/v1/*', '/v1', 'differs'],
  ['/v1/*', '/v10/users', 'differs'],
  ['/v1*', '/v10/users', 'fits'],
  ['/v1/users', '/v1/users', 'fits'],
  ['/v1/users', '/v1/users/', 'differs'],
  ['/v1/users', '/V1/users', 'differs'],
  ['/*', '/', 'fits'],
  ['/*', '/any//thing/../at%2Fall;x', 'fits'],
  ['/*', '*', 'differs'],
  ['/v1/*', '/v1/%75sers', 'fits'],
  ['/v1/*', '/v%31/users', 'fits'],
  ['/a%20b/*', '/a%20b/c', 'fits'],
  ['/v1/*', '/v1/a;b=c', 'fits'],
  ['/v1/*', '/v1/group%2Fproject', 'fits'],
  ['/v1/*', '/elsewhere//x/../y', 'differs'],
  ['/v1/*', '/v1/a...b/..c/d..', 'fits'],
  ['/v1/*', '/v1/100%25/%E4%B8%AD', 'fits'],
  ['/v1/*', '/v1/...x/..y/%41', 'fits'],
])('fitsPatterns() says of %s and %s: %s', (pattern, path, answer) => {
  expect(fitsPatterns(path, [pattern])).toBe(answer)
})

describe('C6: a path that another reading leads elsewhere depends on the reading', () => {
  test.each([
    '/v1/../admin',
    '/v1/..',
    '/v1/./../admin',
    '/v1/%2e%2e/admin',
    '/v1/%2E./admin',
    '/v1/.%2e/admin',
    '/v1/..%2fadmin',
    '/v1%2f..%2fadmin',
    '/v1/%252e%252e/admin',
    '/v1/..%5cadmin',
    '/v1/..\\admin',
    '/v1/..;/admin',
    '/v1/..;x=1/admin',
    '/v1/a/../../admin',
    '//v1/users',
    '/admin/..//v1/users',
    '/./v1/users',
    '/v1;x/users',
    '\\v1\\users',
    '/%76%31%2fusers',
    '/v1%252fusers',
    '/v1/%25252e%25252e/admin',
    '/v1/%2525252e%2525252e/admin',
    '/v1/%c0%ae%c0%ae/admin',
    '/v1/%25c0%25ae%25c0%25ae/admin',
    '/v1/..%C0%AF../admin',
    '/v1/..%c1%9cadmin',
    '/v1/%e0%80%ae./admin',
    '/v1/%u002e%u002e/admin',
    '/v1/..%u2215admin',
    '/v1/.../admin',
    '/v1/..%20/admin',
    '/v1/..%09/admin',
    '/v1/..%00/admin',
    '/v1/..%00.json/admin',
    '/v1/..%20%2fadmin',
    '/v1/x%00/../../admin',
  ])('%s', (path) => {
    expect(fitsPatterns(path, ['/v1/*'])).toBe('depends')
  })
})

test('C6: a pattern for one thing does not fit what only becomes it', () => {
  expect(fitsPatterns('/v1/users/', ['/v1/users'])).toBe('differs')
  expect(fitsPatterns('/v1//users', ['/v1/users'])).toBe('depends')
})

test.each([
  ['/*', true],
  ['/v1/*', true],
  ['/v1/a%20b', true],
  ['v1/*', false],
  ['', false],
  ['*', false],
  ['/v1/../x', false],
  ['/v1/%2e%2e/x', false],
  ['/v1/%2fx', false],
  ['/v1//x', false],
  ['/v1/*/x', false],
  ['/v1?x', false],
  ['/v1#x', false],
  ['/ä', false],
  ['/v1;x/*', false],
])('parsePathPattern() takes %j: %j', (text, isTaken) => {
  expect('pattern' in parsePathPattern(text)).toBe(isTaken)
})

test.each([
  ['/*', '/v1/*', true],
  ['/v1/*', '/v1/users', true],
  ['/v1/users', '/v1/users', true],
  ['/v1/*', '/v2/*', false],
  ['/v1/users', '/v1/user', false],
  ['/v1*', '/v10/*', true],
])('patternsOverlap() of %s and %s: %j', (one, other, overlap) => {
  expect([patternsOverlap(one, other), patternsOverlap(other, one)]).toEqual([overlap, overlap])
})

test('a long path is read in the time that its length takes', () => {
  const path = `/${'a'.repeat(60_000)}/../${'%2e'.repeat(5000)}`
  expect(fitsPatterns(path, ['/v1/*'])).toBe('differs')
})

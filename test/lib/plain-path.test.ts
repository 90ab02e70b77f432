import { describe, expect, test } from 'vitest'
import { isBelow, isPlain } from '../../lib/plain-path.ts'

describe('isBelow()', () => {
  test.each([
    ['/docs', '/docs'],
    ['/docs/', '/docs'],
    ['/docs/a/b?c=/../d', '/docs'],
    ['/docs?x', '/docs/'],
    ['/docs/%20a;b=c/.well-known', '/docs'],
    ['/anything', '/'],
    ['/', '/'],
    ['/a%2520b', '/'],
  ])('%s is below %s', (target, path) => {
    expect(isBelow(target, path)).toBe(true)
  })

  test.each([
    ['/', '/docs'],
    ['/docsx', '/docs'],
    ['/Docs', '/docs'],
    ['/doc', '/docs'],
    ['/x?/docs', '/docs'],
    ['*', '/'],
    ['', '/'],
  ])('%s is not below %s', (target, path) => {
    expect(isBelow(target, path)).toBe(false)
  })

  test.each([
    '/docs/../admin',
    '/docs/./../admin',
    '/docs/..',
    '/docs/%2e%2e/admin',
    '/docs/%2E./admin',
    '/docs/.%2e/admin',
    '/docs/%252e%252e/admin',
    '/docs/%25252e%25252e/admin',
    '/docs/..;/admin',
    '/docs/..%3b/admin',
    '/docs/..;x=y/admin',
    '/docs//admin',
    '/docs/%2fadmin',
    '/docs/..%2fadmin',
    '/docs/..%5cadmin',
    '/docs/..\\admin',
    '/docs%2f..%2fadmin',
    '/docs/%2e%2e%2fadmin',
    '/docs/a%3f/../..',
    '/docs/a%3fb',
    '/docs/%00',
    '/docs/%2500',
    '/docs/%',
    '/docs/%zz',
    '/docs/%23/../..',
    '/docs/%2525252e%2525252e',
  ])('%s could be read as another place', (target) => {
    expect(isBelow(target, '/docs')).toBe(false)
    expect(isPlain(target)).toBe(false)
  })
})

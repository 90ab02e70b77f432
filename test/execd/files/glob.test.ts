import { describe, expect, test } from 'vitest'
import { createGlob } from '../../../execd/files/glob.ts'
import { processorMs } from '../../support/fair-time.ts'

describe('createGlob()', () => {
  test.each([
    ['*', ['a', '.a', ''], ['a/b']],
    ['**', ['a', 'a/b', ''], []],
    ['*.py', ['a.py', '.py'], ['a.pyc', 'd/a.py']],
    ['**/*.py', ['a.py', 'd/a.py', 'd/e/a.py'], ['a.js']],
    ['src/**/*.ts', ['src/a.ts', 'src/x/y/a.ts'], ['a.ts', 'src/a.js', 'xsrc/a.ts']],
    ['src/*.ts', ['src/a.ts'], ['src/x/a.ts']],
    ['a?c', ['abc', 'aäc'], ['ac', 'a/c', 'abbc']],
    ['[a-c]x', ['ax', 'cx'], ['dx', 'x']],
    ['[!a-c]x', ['dx'], ['ax', '/x']],
    ['[^a]', ['b'], ['a']],
    ['[]a]', [']', 'a'], ['b']],
    ['{a,b{c,d}}.x', ['a.x', 'bc.x', 'bd.x'], ['b.x', 'c.x']],
    ['{,x}y', ['y', 'xy'], ['zy']],
    ['[{]a', ['{a'], ['a']],
    ['\\*', ['*'], ['a']],
    ['a\\{b', ['a{b'], ['ab']],
    ['!(a|b*)', ['c', 'ab', ''], ['a', 'b', 'bcd']],
    ['x!(1).txt', ['x2.txt', 'x.txt', 'x11.txt'], ['x1.txt']],
    ['a!', ['a!'], ['a']],
    ['😀?', ['😀😀'], ['😀']],
  ])('%s', (pattern, yes, no) => {
    const matches = createGlob(pattern)
    for (const name of yes) expect([name, matches(name)]).toEqual([name, true])
    for (const name of no) expect([name, matches(name)]).toEqual([name, false])
  })

  test.each([
    '[a',
    '{a,b',
    '!(a',
    '\\',
    '[z-a]',
    '!(!(a))',
    'x'.repeat(2000),
    '{a,b}'.repeat(9),
    '!(a)'.repeat(9),
  ])('refuses %s', (pattern) => {
    expect(() => createGlob(pattern)).toThrow(/^The pattern/)
  })

  test('takes no time for a pattern that would keep a regular expression busy', () => {
    const took = processorMs(() => {
      expect(createGlob(`${'*a'.repeat(40)}*b`)('a'.repeat(250))).toBe(false)
      expect(createGlob(`${'**/'.repeat(30)}x`)('a/'.repeat(100))).toBe(false)
    })
    expect(took).toBeLessThan(2000)
  })
})

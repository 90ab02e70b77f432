import { describe, expect, test } from 'vitest'
import { resolvePath } from '../../../execd/files/path.ts'
import { formatMode, parsePermission } from '../../../execd/files/permission.ts'
import { parseRanges } from '../../../execd/files/range.ts'
import { refuseVital } from '../../../execd/files/vital.ts'
import { createUsers } from '../../../execd/users.ts'

const context = { env: { NAME: 'n', EMPTY: '', SLASH: '/s' }, home: '/home/u', cwd: '/work' }

describe('resolvePath()', () => {
  test.each([
    ['a', '/work/a'],
    ['/a/../b', '/b'],
    ['~', '/home/u'],
    ['~/x', '/home/u/x'],
    ['a~', '/work/a~'],
    ['~user/x', '/work/~user/x'],
    ['$NAME/x', '/work/n/x'],
    ['\x24{NAME}x', '/work/nx'],
    ['$SLASH/x', '/s/x'],
    ['$EMPTY/x', '/x'],
    // Becoming empty, these would mean their parent.
    ['/data/$1', '/data/$1'],
    ['/data/$', '/data/$'],
    ['/data/$$', '/data/$$'],
    ['/data/\x24{', '/data/\x24{'],
    ['/data/$*', '/data/$*'],
  ])('%s is %s', (path, expected) => {
    expect(resolvePath(path, context)).toBe(expected)
  })

  test.each([
    ['', 'empty'],
    ['a\0b', 'NUL'],
    ['/data/$NOPE', '"NOPE" is not set'],
    ['$toString', '"toString" is not set'],
    [`/${'x'.repeat(5000)}`, 'longer than 4096'],
  ])('refuses %j', (path, message) => {
    expect(() => resolvePath(path, context)).toThrow(
      expect.objectContaining({ status: 400, message: expect.stringContaining(message) }),
    )
  })
})

test.each([
  ['/', true],
  ['/proc', true],
  ['/opt', true],
  ['/opt/opensandbox', true],
  ['/opt/opensandbox/bin/node', true],
  ['/opt/opensandbox2', false],
  ['/tmp', false],
  ['/dev/shm/x', false],
])('refuseVital(%s): %s', (path, refused) => {
  const check = () => refuseVital(path, ['/opt/opensandbox'])
  if (refused) expect(check).toThrow(/^Cannot remove or replace/)
  else expect(check).not.toThrow()
})

const part = (start: number, end: number) => ({ kind: 'parts', parts: [{ start, end }] })

test.each([
  [undefined, 10, { kind: 'whole' }],
  ['bytes=0-9', 0, { kind: 'whole' }],
  ['bytes=0-9', 100, part(0, 9)],
  ['bytes=90-200', 100, part(90, 99)],
  ['bytes=5-', 10, part(5, 9)],
  ['bytes=-3', 10, part(7, 9)],
  ['bytes=-30', 10, part(0, 9)],
  [' Bytes = 0 - 1 ', 10, part(0, 1)],
  [
    'bytes=0-1,4-5',
    10,
    {
      kind: 'parts',
      parts: [
        { start: 0, end: 1 },
        { start: 4, end: 5 },
      ],
    },
  ],
  ['bytes=0-1,,20-30, ', 10, part(0, 1)],
  ['bytes=0-8,1-9', 10, { kind: 'whole' }],
  [`bytes=${'0-0,'.repeat(65)}`, 1000, { kind: 'whole' }],
  [`bytes=${'x,'.repeat(64)}`, 1000, { kind: 'whole' }],
  [`bytes=${'x,'.repeat(63)}`, 1000, { kind: 'malformed' }],
  ['bytes=10-', 10, { kind: 'unsatisfiable' }],
  ['bytes=10-11,12-', 10, { kind: 'unsatisfiable' }],
  ['bytes=-0', 10, { kind: 'unsatisfiable' }],
  ['bytes=5-4', 10, { kind: 'malformed' }],
  ['bytes=0-1,5-4', 10, { kind: 'malformed' }],
  ['bytes=-', 10, { kind: 'malformed' }],
  ['bytes=', 10, { kind: 'malformed' }],
  ['lines=1-2', 10, { kind: 'malformed' }],
  ['bytes=a-b', 10, { kind: 'malformed' }],
  ['bytes=1', 10, { kind: 'malformed' }],
  ['bytes=99999999999999999999-', 10, { kind: 'malformed' }],
])('parseRanges(%s, %i)', (header, size, expected) => {
  expect(parseRanges(header, size)).toEqual(expected)
})

describe('permissions', () => {
  const users = createUsers()
  test('F12: a mode is octal digits written as a decimal number', () => {
    expect(parsePermission({ mode: 755 }, 'x', users)).toEqual({ mode: 0o755 })
    expect(parsePermission({ mode: 4755 }, 'x', users)).toEqual({ mode: 0o4755 })
    expect(parsePermission({ mode: 0, owner: null, group: '' }, 'x', users)).toEqual({})
    expect(formatMode(0o100644)).toBe(644)
  })

  test('an owner is a name or a number', () => {
    expect(parsePermission({ owner: 'root', group: '12' }, 'x', users)).toEqual({ uid: 0, gid: 12 })
  })

  test.each([
    [{ mode: 888 }, 'mode'],
    [{ mode: -1 }, 'mode'],
    [{ mode: 77777 }, 'mode'],
    [{ mode: '755' }, 'mode'],
    [{ owner: 'nobody-has-this' }, 'no user "nobody-has-this"'],
    [{ group: 'nobody-has-this' }, 'no group'],
    [{ owner: 5 }, 'owner'],
  ])('refuses %j', (body, message) => {
    expect(() => parsePermission(body, 'x', users)).toThrow(
      expect.objectContaining({ status: 400, message: expect.stringContaining(message) }),
    )
  })
})

import { expect, test } from 'vitest'
import { decodeOctal, mountPointsIn } from '../../lib/mountinfo.ts'

const line = (root: string, point: string) =>
  `36 35 98:0 ${root} ${point} rw,noatime shared:1 - ext4 /dev/x rw`

test.each([
  ['nothing', '', []],
  ['one', line('/', '/a'), ['/a']],
  ['one for each mount', `${line('/', '/a')}\n${line('/', '/a')}\n`, ['/a', '/a']],
  ['not the root of a bind', line('/a', '/b'), ['/b']],
  ['blanks, line ends and backslashes', line('/', '/a\\040b\\011c\\012d\\134e'), ['/a b\tc\nd\\e']],
  ['what only looks like octal', line('/', '/a\\134040'), ['/a\\040']],
  ['letters of other scripts', line('/', '/ü'), ['/ü']],
  ['half a line', '36 35 98:0', []],
])('mountPointsIn() finds %s', (_what, table, expected) => {
  expect(mountPointsIn(table)).toEqual(expected)
})

test('decodeOctal() leaves alone what is not three octal digits', () => {
  expect(decodeOctal('\\9\\08\\0\\')).toBe('\\9\\08\\0\\')
})

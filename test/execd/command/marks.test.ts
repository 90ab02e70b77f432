import { describe, expect, test } from 'vitest'
import { isOfEarlierLife, ownedEnvironment, parseMarks } from '../../../execd/command/marks.ts'

describe('parseMarks()', () => {
  test.each([
    ['', {}],
    ['A=1\0OPENSANDBOX_COMMAND_ID=abc\0B=2\0', { command: 'abc' }],
    ['OPENSANDBOX_COMMAND_ID=abc', { command: 'abc' }],
    ['OPENSANDBOX_COMMAND_ID=a\0OPENSANDBOX_COMMAND_ID=b\0', { command: 'a' }],
    ['X=OPENSANDBOX_COMMAND_ID=abc\0XOPENSANDBOX_COMMAND_ID=abc\0', {}],
    ['OPENSANDBOX_EXECD_FAMILY=l.1.pty\0OPENSANDBOX_COMMAND_ID=\0', { command: '', family: 'l.1.pty' }],
  ])('reads %j', (environ, marks) => {
    expect(parseMarks(environ)).toEqual(marks)
  })
})

test('what a family has started belongs to an earlier life once there is a later one, and to that execd alone', () => {
  const life = { id: 'l-1', number: 2 }
  const environment = ownedEnvironment({ life }, 'session')
  const marks = parseMarks(
    Object.entries(environment)
      .map((entry) => entry.join('='))
      .join('\0'),
  )
  expect(isOfEarlierLife(marks, { ...life, number: 3 })).toBe(true)
  expect(isOfEarlierLife(marks, life)).toBe(false)
  expect(isOfEarlierLife(marks, { id: 'l-2', number: 3 })).toBe(false)
  expect(isOfEarlierLife({}, { ...life, number: 3 })).toBe(false)
  expect(isOfEarlierLife({ family: 'l-1.x.pty' }, { ...life, number: 3 })).toBe(false)
})

import { describe, expect, test } from 'vitest'
import { parseSessionRequest, parseSessionRunRequest } from '../../../execd/session/request.ts'

describe('the request for a session', () => {
  test.each([
    [{}, {}],
    [{ cwd: null }, {}],
    [{ cwd: '' }, {}],
    [{ CWD: '/a', unknown: 1 }, { cwd: '/a' }],
  ])('%j is %j', (body, request) => {
    expect(parseSessionRequest(body)).toEqual(request)
  })

  test('names what is wrong', () => {
    expect(() => parseSessionRequest({ cwd: 7 })).toThrow('"cwd" must be a text: found 7')
  })
})

describe('the request for a run', () => {
  test.each([
    [{ command: 'a' }, { code: 'a' }],
    [{ command: 'a', cwd: null, timeout: null }, { code: 'a' }],
    [{ command: 'a', cwd: '', timeout: 0 }, { code: 'a' }],
    [
      { command: ' ', cwd: 'b', timeout: 5 },
      { code: ' ', cwd: 'b', timeoutMs: 5 },
    ],
  ])('%j is %j', (body, request) => {
    expect(parseSessionRunRequest(body)).toEqual(request)
  })

  test.each([
    [{}, '"command"'],
    [{ command: '' }, '"command"'],
    [{ command: null }, '"command"'],
    [{ command: ['a'] }, '"command" must be a text: found a list'],
    [{ command: 'a\0b' }, '"command" has a NUL byte'],
    [{ command: 'a', timeout: -1 }, '"timeout" must be an integer'],
    [{ command: 'a', timeout: 1.5 }, '"timeout" must be an integer'],
    [{ command: 'a', timeout: '1' }, '"timeout" must be an integer'],
    [{ command: 'a', cwd: {} }, '"cwd" must be a text'],
  ])('%j is refused with %s', (body, message) => {
    expect(() => parseSessionRunRequest(body)).toThrow(message)
  })
})

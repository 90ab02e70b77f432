import { describe, expect, test } from 'vitest'
import { parseCommandRequest } from '../../../execd/command/request.ts'

describe('parseCommandRequest()', () => {
  test('takes null as absent, keys in any case, and unknown keys', () => {
    expect(
      parseCommandRequest({ Command: 'ls', CWD: '/tmp', timeout: null, uid: null, envs: null, more: 1 }),
    ).toEqual({ run: { line: 'ls' }, cwd: '/tmp', background: false, envs: {} })
  })

  test('takes a program with its arguments', () => {
    expect(
      parseCommandRequest({ argv: ['ls', ''], uid: 7, gid: 8, timeout: 5, envs: { A: 'b', C: null } }),
    ).toEqual({
      run: { argv: ['ls', ''] },
      background: false,
      uid: 7,
      gid: 8,
      timeoutMs: 5,
      envs: { A: 'b' },
    })
  })

  test.each([
    [{}, 'Exactly one'],
    [{ command: '' }, 'Exactly one'],
    [{ command: 'a', argv: ['b'] }, 'Exactly one'],
    [{ command: 1 }, '"command" must be a text: found 1'],
    [{ command: 'a\0b' }, '"command" has a NUL'],
    [{ argv: [] }, '"argv[0]"'],
    [{ argv: [''] }, '"argv[0]"'],
    [{ argv: ['a', 2] }, '"argv[1]" must be a text'],
    [{ argv: 'ls' }, '"argv" must be a list'],
    [{ command: 'a', timeout: -1 }, '"timeout" must be an integer from 0'],
    [{ command: 'a', timeout: 1.5 }, '"timeout"'],
    [{ command: 'a', timeout: '5' }, '"timeout"'],
    [{ command: 'a', gid: 1 }, '"gid" needs "uid"'],
    [{ command: 'a', uid: 2 ** 32 - 1 }, '"uid"'],
    [{ command: 'a', uid: -1 }, '"uid"'],
    [{ command: 'a', background: 'yes' }, '"background" must be true or false'],
    [{ command: 'a', cwd: 5 }, '"cwd"'],
    [{ command: 'a', envs: [] }, '"envs" must be a JSON object'],
    [{ command: 'a', envs: { 'A=B': 'c' } }, 'no variable can have'],
    [{ command: 'a', envs: { A: 5 } }, '"envs.A" must be a text'],
  ])('refuses %j: %s', (body, message) => {
    expect(() => parseCommandRequest(body)).toThrow(
      expect.objectContaining({
        status: 400,
        code: 'INVALID_REQUEST_BODY',
        message: expect.stringContaining(message),
      }),
    )
  })
})

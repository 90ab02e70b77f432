import { describe, expect, test } from 'vitest'
import { withEnvironment } from '../../../execd/isolated/code.ts'
import { formatParameters, parseRunRequest, parseSessionRequest } from '../../../execd/isolated/request.ts'

const workspace = { path: '/workspace' }

describe('parseSessionRequest()', () => {
  test('has the defaults of the contract', () => {
    expect(parseSessionRequest({ workspace })).toEqual({
      mounts: [{ path: '/workspace', mode: 'overlay', persist: true }],
      profile: 'strict',
      extraWritable: [],
      binds: [],
      shareNet: true,
      uidMode: 'setpriv',
      idleTimeoutSeconds: 0,
    })
  })

  test('takes null and empty texts as absent, as clients that fill in every field send them', () => {
    const all = [
      'profile',
      'extra_writable',
      'binds',
      'share_net',
      'env_passthrough',
      'uid',
      'gid',
      'uid_mode',
    ]
    const empty = Object.fromEntries(all.map((name) => [name, null]))
    expect(
      parseSessionRequest({ workspace: { path: '/workspace', mode: null }, overlays: null, ...empty }),
    ).toEqual(parseSessionRequest({ workspace }))
    expect(parseSessionRequest({ workspace: { ...workspace, mode: '' }, profile: '' }).profile).toBe('strict')
  })

  test('puts the workspace before the overlays, and lets a slash at its end go', () => {
    const { mounts } = parseSessionRequest({
      workspace: { path: '/a/', mode: 'rw' },
      overlays: [{ path: '/' }, { path: '/b', persist: false }, { path: '/c', mode: 'ro' }],
    })
    expect(mounts).toEqual([
      { path: '/a', mode: 'rw', persist: true },
      { path: '/', mode: 'overlay', persist: true },
      { path: '/b', mode: 'overlay', persist: false },
      { path: '/c', mode: 'ro', persist: true },
    ])
  })

  test('takes binds with and without their defaults', () => {
    expect(
      parseSessionRequest({
        workspace,
        binds: [{ source: '/a' }, { source: '/a', dest: '/b', readonly: true }],
      }).binds,
    ).toEqual([
      { source: '/a', dest: '/a', readOnly: false },
      { source: '/a', dest: '/b', readOnly: true },
    ])
  })

  const many = Array.from({ length: 17 }, (_, index) => ({ path: `/m${index}` }))
  test.each<[string, Record<string, unknown>, RegExp]>([
    ['neither workspace nor overlays', {}, /"workspace" and "overlays"/],
    ['an empty list of overlays', { overlays: [] }, /"workspace" and "overlays"/],
    ['a workspace that is a text', { workspace: '/w' }, /workspace.*JSON object/],
    ['a workspace without a path', { workspace: {} }, /"workspace.path" is needed/],
    [
      'an unknown mode',
      { workspace: { ...workspace, mode: 'cow' } },
      /"workspace.mode" must be one of "rw", "overlay", "ro"/,
    ],
    [
      'an unknown profile',
      { workspace, profile: 'loose' },
      /"profile" must be one of "strict", "balanced", "minimal"/,
    ],
    ['an unknown uid_mode', { workspace, uid_mode: 'sudo' }, /"uid_mode" must be one of "setpriv", "userns"/],
    ['a relative path', { workspace: { path: 'w' } }, /absolute path/],
    ['dots in a path', { overlays: [{ path: '/a/../b' }] }, /absolute path/],
    ['a slash at the end of an overlay', { overlays: [{ path: '/a/' }] }, /absolute path/],
    ['the same path twice', { workspace, overlays: [workspace] }, /same path "\/workspace"/],
    ['17 mounts', { overlays: many }, /At most 16 mounts: found 17/],
    [
      'persist with rw',
      { overlays: [{ path: '/a', mode: 'rw', persist: true }] },
      /"overlays\[0\].persist" goes only with/,
    ],
    ['a bind without a source', { workspace, binds: [{ dest: '/x' }] }, /"binds\[0\].source" is needed/],
    ['a relative bind', { workspace, binds: [{ source: 'x' }] }, /"binds\[0\].source".*absolute/],
    ['binds that are no list', { workspace, binds: {} }, /"binds" must be a list/],
    ['extra_writable of numbers', { workspace, extra_writable: [1] }, /"extra_writable\[0\]" must be a text/],
    ['share_net as a text', { workspace, share_net: 'yes' }, /"share_net" must be true or false/],
    ['a negative uid', { workspace, uid: -1 }, /"uid" must be an integer/],
    ['a fraction of an id', { workspace, gid: 1.5 }, /"gid" must be an integer/],
    ['a negative idle time', { workspace, idle_timeout_seconds: -1 }, /"idle_timeout_seconds"/],
    [
      'an unknown passthrough',
      { workspace, env_passthrough: { mode: 'all' } },
      /"env_passthrough.mode" must be one of/,
    ],
    ['a NUL byte', { workspace: { path: '/a\0b' } }, /NUL/],
  ])('refuses %s', (_what, body, message) => {
    expect(() => parseSessionRequest(body)).toThrow(message)
  })
})

describe('formatParameters()', () => {
  test('gives one mount back as the workspace too, and several only as overlays', () => {
    expect(formatParameters(parseSessionRequest({ workspace, uid: 0 }))).toEqual({
      profile: 'strict',
      workspace: { path: '/workspace', mode: 'overlay' },
      overlays: [{ path: '/workspace', mode: 'overlay', persist: true }],
      extra_writable: [],
      binds: [],
      share_net: true,
      uid: 0,
      uid_mode: 'setpriv',
      idle_timeout_seconds: 0,
    })
    const two = formatParameters(parseSessionRequest({ workspace, overlays: [{ path: '/b', mode: 'ro' }] }))
    expect(two.workspace).toBeUndefined()
    expect(two.overlays).toHaveLength(2)
  })
})

describe('parseRunRequest()', () => {
  test('counts seconds, and takes none as no limit', () => {
    expect(parseRunRequest({ code: 'ls', timeout_seconds: 2 })).toEqual({
      code: 'ls',
      envs: {},
      timeoutMs: 2000,
      background: false,
    })
    expect(parseRunRequest({ code: 'ls', timeout_seconds: 0, background: true }).timeoutMs).toBeUndefined()
  })
  test.each<[Record<string, unknown>, RegExp]>([
    [{}, /"code" must not be empty/],
    [{ code: '  ' }, /"code" must not be empty/],
    [{ code: 'ls', timeout_seconds: -1 }, /"timeout_seconds"/],
    [{ code: 'ls', envs: { 'A=B': 'c' } }, /"envs"/],
    [{ code: 'ls', background: 'yes' }, /"background"/],
  ])('refuses %j', (body, message) => {
    expect(() => parseRunRequest(body)).toThrow(message)
  })
})

describe('withEnvironment()', () => {
  test('leaves code without variables as it is', () => {
    expect(withEnvironment('exit 3', {})).toBe('exit 3')
  })
  test('quotes values and code so that neither can leave its place', () => {
    expect(withEnvironment("echo 'a'", { A: "x'; rm -rf /; '" })).toBe(
      "(builtin export A='x'\\''; rm -rf /; '\\'''; builtin eval 'echo '\\''a'\\''')",
    )
  })
  test('refuses a name that a shell cannot export', () => {
    expect(() => withEnvironment('ls', { 'a-b': 'x' })).toThrow('"a-b"')
  })
})

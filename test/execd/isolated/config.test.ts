import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { DEFAULT_CONFIG, loadIsolationConfig } from '../../../execd/isolated/config.ts'
import { sessionEnvironment } from '../../../execd/isolated/environment.ts'
import { processorMs } from '../../support/fair-time.ts'

describe('loadIsolationConfig()', () => {
  const load = (toml: string) => {
    const dir = mkdtempSync(join(tmpdir(), 'isolation-config-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    writeFileSync(join(dir, 'c.toml'), toml)
    return loadIsolationConfig(join(dir, 'c.toml'))
  }

  test('has the defaults of the contract without a file', async () => {
    const config = await loadIsolationConfig(undefined)
    expect(config).toBe(DEFAULT_CONFIG)
    expect(config.upperRoot).toBe('/var/lib/execd/isolation')
    expect(config.allowedWritable).toEqual(['/workspace', '/mnt', '/media', '/data'])
    expect(config.deniedCalls).toContain('pivot_root')
  })

  test('replaces whole lists, an empty one too', async () => {
    const config = await load(
      'upper_root = "/srv/upper/"\nupper_max_bytes = 0\nallowed_writable = []\n[seccomp]\ndeny = ["mount"]\n',
    )
    expect(config).toEqual({
      ...DEFAULT_CONFIG,
      upperRoot: '/srv/upper',
      upperMaxBytes: 0,
      allowedWritable: [],
      deniedCalls: ['mount'],
    })
  })

  test('accepts the sections of other isolators', async () => {
    expect(await load('[hardening]\nlandlock = true\n[seccomp]\n')).toEqual(DEFAULT_CONFIG)
  })

  test.each([
    ['upper_rot = "/x"', /unknown key "upper_rot"/],
    ['upper_root = "x"', /"upper_root" must be an absolute path/],
    ['upper_root = "/"', /"upper_root"/],
    ['upper_root = "/a:b"', /"upper_root"/],
    ['upper_max_bytes = -1', /"upper_max_bytes" must be a number of bytes/],
    ['allowed_writable = ["rel"]', /"allowed_writable" must be a list of absolute paths/],
    ['allowed_writable = "/x"', /"allowed_writable"/],
    ['[seccomp]\ndeny = ["teleport"]', /names of no system call: teleport/],
    ['seccomp = 1', /"seccomp.deny"/],
    ['upper_root = ', /not valid TOML/],
  ])('refuses %j', async (toml, message) => {
    await expect(load(toml)).rejects.toThrow(message)
  })

  test('tells all problems at once', async () => {
    await expect(load('upper_root = "x"\ndiff_max_bytes = "much"\n')).rejects.toThrow(
      /"upper_root".*; "diff_max_bytes"|"diff_max_bytes".*; "upper_root"/,
    )
  })

  test('says when the file is not there: nothing is allowed by a typing error', async () => {
    await expect(loadIsolationConfig('/no/such/file.toml')).rejects.toThrow('ENOENT')
  })
})

describe('sessionEnvironment()', () => {
  const env = {
    PATH: '/bin',
    HOME: '/root',
    OPENAI_API_KEY: 'k',
    my_token: 't',
    DB_PASSWORD: 'p',
    AWS_REGION: 'r',
    KUBERNETES: 'no',
    EXECD_ENVS: '/run/opensandbox/env',
    JUPYTER_TOKEN: 'j',
  }
  const names = (...args: Parameters<typeof sessionEnvironment>) =>
    Object.keys(sessionEnvironment(...args)).sort()

  test('leaves out what looks like a secret, in any case of letters', () => {
    expect(names(env, undefined)).toEqual(['HOME', 'KUBERNETES', 'PATH'])
    expect(names(env, { mode: 'deny', keys: [] })).toEqual(['HOME', 'KUBERNETES', 'PATH'])
  })
  test('leaves out what is named, and then nothing else', () => {
    expect(names(env, { mode: 'deny', keys: ['PATH'] })).toEqual([
      'AWS_REGION',
      'DB_PASSWORD',
      'HOME',
      'KUBERNETES',
      'OPENAI_API_KEY',
      'my_token',
    ])
  })
  test('passes what is named alone', () => {
    expect(names(env, { mode: 'allow', keys: ['PATH', 'OPENAI_API_KEY', 'NOT_SET'] })).toEqual([
      'OPENAI_API_KEY',
      'PATH',
    ])
    expect(names(env, { mode: 'allow', keys: [] })).toEqual([])
    expect(names(env, { mode: 'allow', keys: ['*A*'] })).toEqual([
      'AWS_REGION',
      'DB_PASSWORD',
      'OPENAI_API_KEY',
      'PATH',
    ])
  })
  test("never passes execd's own, not even when asked", () => {
    expect(names(env, { mode: 'allow', keys: ['EXECD_ENVS', 'JUPYTER_TOKEN', '*'] })).not.toContain(
      'JUPYTER_TOKEN',
    )
    expect(names(env, { mode: 'deny', keys: ['X'] })).not.toContain('EXECD_ENVS')
  })
  test('does not take long over a pattern that could be matched in many ways', () => {
    const keys = [`${'a*'.repeat(2000)}c`]
    const took = processorMs(() => void names({ [`${'a'.repeat(20_000)}b`]: '' }, { mode: 'deny', keys }))
    expect(took).toBeLessThan(2000)
  })
})

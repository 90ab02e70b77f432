// How sandboxes are reached, as the configuration says it.

import { describe, expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../../lib/config.ts'

function load(toml: string, env: Record<string, string> = {}) {
  return loadConfig({ env, args: ['--config', '/c.toml'], readFile: () => toml })
}

function problemsOf(toml: string, env: Record<string, string> = {}): string[] {
  try {
    load(toml, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

const KEYS = `
[ingress.secure_access]
active_key = "b"
[[ingress.secure_access.keys]]
key_id = "a"
key = "b2xk"
[[ingress.secure_access.keys]]
key_id = "b"
key = "bmV3IQ"
`

describe('the keys that sign', () => {
  test('G19: they are read from the file, with padding and without', () => {
    const { secureAccess } = load(KEYS).config.ingress
    expect(secureAccess?.activeKey).toBe('b')
    expect([...(secureAccess?.keys ?? [])].map(([id, key]) => [id, Buffer.from(key).toString()])).toEqual([
      ['a', 'old'],
      ['b', 'new!'],
    ])
  })

  test('G18: the environment has them in the place of the file, so that they stand in no command line', () => {
    const env = {
      OPENSANDBOX_SECURE_ACCESS_KEYS: ' x = eA== ,,y=eXk= ',
      OPENSANDBOX_SECURE_ACCESS_ACTIVE_KEY: 'y',
    }
    const { secureAccess } = load(KEYS, env).config.ingress
    expect(secureAccess?.activeKey).toBe('y')
    expect([...(secureAccess?.keys.keys() ?? [])]).toEqual(['x', 'y'])
  })

  test('without any there are none', () => {
    expect(load('').config.ingress).toEqual({ domain: 'localhost', wake: 'idle', wakeTimeoutMs: 20_000 })
  })

  test.each([
    ['[ingress.secure_access]\nactive_key = "a"', 'needs ingress.secure_access.keys beside it'],
    [KEYS.replace('active_key = "b"', ''), 'needs ingress.secure_access.active_key beside it'],
    [
      KEYS.replace('active_key = "b"', 'active_key = "c"'),
      'must be the key_id of one of the keys (a, b), but it is "c"',
    ],
    [
      KEYS.replace('key_id = "a"', 'key_id = "A"'),
      '"ingress.secure_access.keys[0].key_id" must be one lower-case',
    ],
    [KEYS.replace('key_id = "a"', 'key_id = "b"'), 'must be one that no other key has, but it is "b"'],
    [KEYS.replace('key = "b2xk"', ''), 'needs "key", and there is none'],
    [KEYS.replace('"b2xk"', '"not base64!"'), '"ingress.secure_access.keys[0].key" must be base64'],
    [KEYS.replace('"b2xk"', '""'), 'must be base64 of one byte at least'],
    [
      KEYS.replace('key = "b2xk"', 'key = "b2xk"\nsecret = "x"'),
      'is an unknown key: allowed are key_id, key',
    ],
  ])('%j is refused', (toml, problem) => {
    const problems = problemsOf(toml)
    expect(problems.join('\n')).toContain(problem)
    expect(problems.join('\n')).not.toMatch(/b2xk|not base64!/)
  })
})

describe('the addresses of endpoints', () => {
  const gateway = (address: string, mode: string) =>
    `[ingress]\nmode = "gateway"\n[ingress.gateway]\naddress = "${address}"\nroute.mode = "${mode}"`

  test.each([
    ['*.Sandboxes.example:8443', 'wildcard', 'sandboxes.example'],
    ['gw.example:8080', 'header', 'localhost'],
    ['[2001:db8::1]:8080', 'header', 'localhost'],
    ['gw.example/base/path', 'uri', 'localhost'],
  ])('%s by %s', (address, route, domain) => {
    expect(load(gateway(address, route)).config.ingress).toMatchObject({
      domain,
      gateway: { address, route },
    })
  })

  test.each([
    ['gw.example', 'wildcard', 'must be "*." and a domain'],
    ['http://gw.example', 'header', 'must be a host'],
    ['gw.example/path', 'header', 'must be a host'],
    ['*.gw.example', 'uri', 'must be a host'],
    ['gw.example/a?b', 'uri', 'must be a host'],
  ])('%s by %s is refused', (address, route, problem) => {
    expect(problemsOf(gateway(address, route)).join()).toContain(problem)
  })

  test('a gateway needs both', () => {
    expect(problemsOf('[ingress]\nmode = "gateway"')).toEqual([
      '/c.toml:2: "ingress.mode" = "gateway" needs ingress.gateway.address beside it, and there is none',
      '/c.toml:2: "ingress.mode" = "gateway" needs ingress.gateway.route.mode beside it, and there is none',
    ])
  })

  test('in the mode direct they are not used', () => {
    expect(load('[ingress.gateway]\naddress = "a.example"').config.ingress.gateway).toBeUndefined()
  })
})

test('what wakes a sandbox is never, idle or always', () => {
  expect(
    load('[ingress]\nwake_on_request = "always"\nwake_timeout_seconds = 5').config.ingress,
  ).toMatchObject({
    wake: 'always',
    wakeTimeoutMs: 5000,
  })
  expect(problemsOf('[ingress]\nwake_on_request = "yes"').join()).toContain(
    'one of "never", "idle", "always"',
  )
})

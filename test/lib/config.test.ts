import { describe, expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../lib/config.ts'

const load = (toml: string | undefined, env: Record<string, string> = {}, args: string[] = []) =>
  loadConfig({
    env,
    args: ['--config', '/c.toml', ...args],
    readFile: () => toml,
    ownFlags: ['--stop-sandboxes'],
  })

function problemsOf(toml: string | undefined, env?: Record<string, string>, args?: string[]): string[] {
  try {
    load(toml, env, args)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('loadConfig()', () => {
  test('a key with the name of something that every object has is an unknown key', () => {
    expect(() => load('constructor = 1\n')).toThrow('unknown key "constructor"')
  })

  test('has defaults that listen on this machine only', () => {
    const { config, warnings } = load('')
    expect(config.server).toEqual({
      host: '127.0.0.1',
      port: 8080,
      corsOrigins: ['*'],
      dataDir: '/var/lib/opensandbox',
    })
    expect(config.egress.defaultAction).toBe('allow')
    expect(config.runtime.allowIsolatedSessions).toBe(false)
    expect(warnings).toEqual([])
  })

  test('lets a flag win over the environment, and that over the file', () => {
    const toml = '[server]\nport = 1001\nhost = "127.0.0.2"\n'
    expect(load(toml).config.server.port).toBe(1001)
    expect(load(toml, { OPENSANDBOX_PORT: '1002' }).config.server.port).toBe(1002)
    expect(load(toml, { OPENSANDBOX_PORT: '1002' }, ['--port=1003']).config.server.port).toBe(1003)
    expect(load(toml, {}, ['--port', '1004']).config.server.host).toBe('127.0.0.2')
  })

  test('lets an empty key from the environment switch the key of the file off', () => {
    expect(load('[server]\napi_key = "k"\n').config.server.apiKey).toBe('k')
    expect(
      load('[server]\napi_key = "k"\n', { OPENSANDBOX_SERVER_API_KEY: '' }).config.server.apiKey,
    ).toBeUndefined()
  })

  test.each([
    ['[server]\nprot = 1\n', '/c.toml:2: unknown key "server.prot": [server] knows host, port'],
    ['[sever]\nport = 1\n', '/c.toml:1: unknown key "sever'],
    [
      '[server]\n\nport = 70000\n',
      '/c.toml:3: "server.port" must be an integer from 1 to 65535, but it is 70000',
    ],
    ['[server]\nport = "x"\n', '"server.port" must be an integer from 1 to 65535, but it is "x"'],
    [
      '[runtime]\nallow_isolated_sessions = "yes"\n',
      '"runtime.allow_isolated_sessions" must be true or false, but it is "yes"',
    ],
    ['[runtime]\ntype = "podman"\n', '"runtime.type" must be one of "local", "docker", but it is "podman"'],
    ['[runtime]\nsubnet = "8.8.8.8"\n', '"runtime.subnet" must be "auto", or a private IPv4 range'],
    [
      '[runtime]\nipv6 = "auto"\n',
      '"runtime.ipv6" must be true, false, or a private IPv6 range of /48 to /96',
    ],
    ['[runtime]\nipv6 = "2001:db8::/64"\n', '"runtime.ipv6" must be true, false, or'],
    ['[runtime]\nipv6 = "fd00::/32"\n', '"runtime.ipv6" must be true, false, or'],
    ['[server\n', '/c.toml:1: not valid TOML'],
    ['[egress]\ndefault_action = "maybe"\n', 'must be one of "allow", "deny"'],
    [
      '[server]\ncors_origins = ["https://a.example/"]\n',
      '/c.toml:2: "server.cors_origins[0]" must be "*", or an origin such as',
    ],
    [
      '[server]\napi_key = "schlüssel"\n',
      '/c.toml:2: "server.api_key" must be empty, or one line of visible ASCII characters and spaces, but it is something else',
    ],
    ['[server]\neip = "edge.example:99999"\n', '/c.toml:2: "server.eip" must be a host name or an address'],
    ['[server]\neip = "https://edge.example/?a=1"\n', 'but it is "https://edge.example/?a=1"'],
    ['api_key = "k"\n', '/c.toml:1: unknown key "api_key": the sections are'],
    ['api_key = "k"\n', 'the nearest is "server.api_key"'],
  ])('refuses %j and names the place', (toml, expected) => {
    expect(problemsOf(toml).join('\n')).toContain(expected)
  })

  test('reads what traffic renews, and where a queue for it is', () => {
    const { config } = load(
      '[renew_intent]\nenabled = false\nmin_interval_seconds = 90\nredis.enabled = false\n',
    )
    expect(config.renewIntent).toEqual({ enabled: false, minIntervalSeconds: 90 })
    expect(config.renewQueue).toBeUndefined()
    expect(load('').config.renewIntent).toEqual({ enabled: true })
    const redis = '[renew_intent.redis]\nenabled = true\ndsn = "redis://u:secret@[::1]:6379/2"\n'
    expect(load(redis).config.renewQueue).toEqual({
      dsn: 'redis://u:secret@[::1]:6379/2',
      queueKey: 'opensandbox:renew:intent',
      maxLength: 0,
      minIntervalMs: 60_000,
    })
    expect(problemsOf('[renew_intent.redis]\nenabled = true\n').join()).toContain(
      'needs renew_intent.redis.dsn',
    )
    const wrong = problemsOf(redis.replace('redis://', 'http://')).join()
    expect(wrong).toContain('must be a redis:// or rediss:// URL')
    expect(wrong).not.toContain('secret')
  })

  test('takes the origins of everybody as a text, too', () => {
    expect(load('[server]\ncors_origins = "*"\n').config.server.corsOrigins).toEqual(['*'])
  })

  test('names every problem at once', () => {
    expect(problemsOf('[server]\nport = 0\nhost = ""\nx = 1\n')).toHaveLength(3)
  })

  test('never shows a key', () => {
    expect(problemsOf('[server]\napi_key = 12345\n').join()).not.toContain('12345')
  })

  test('accepts keys of the contract that mean nothing here with one warning', () => {
    const { warnings } = load(
      '[docker]\nnetwork_mode = "bridge"\n[egress]\nimage = "x"\n[store]\ntype = "sqlite"\n',
    )
    expect(warnings).toEqual([
      '/c.toml: these keys have no meaning here and are not used: docker.network_mode, egress.image, store.type',
    ])
  })

  test('refuses to listen for others without an API key', () => {
    expect(problemsOf('', {}, ['--host', '0.0.0.0']).join()).toContain('without an API key')
    expect(problemsOf('', { OPENSANDBOX_SERVER_API_KEY: 'k' }, ['--host', '0.0.0.0'])).toEqual([])
  })

  test('refuses unknown arguments, missing values and a file that is not there', () => {
    expect(problemsOf('', {}, ['--prot', '1']).join()).toContain('Unknown argument "--prot"')
    expect(problemsOf('', {}, ['--port']).join()).toContain('Flag --port needs a value')
    expect(problemsOf(undefined).join()).toContain('there is no such file')
  })

  test('leaves the flags of the program to the program', () => {
    expect(load('', {}, ['--stop-sandboxes']).flags).toEqual(new Set(['--stop-sandboxes']))
  })
})

test('IPv6 of sandboxes is off, or has a range that is chosen or named', () => {
  const subnet6 = (text: string) => load(text).config.runtime.subnet6
  expect(subnet6('')).toBeUndefined()
  expect(subnet6('[runtime]\nipv6 = false\n')).toBeUndefined()
  expect(subnet6('[runtime]\nipv6 = true\n')).toBe('auto')
  expect(subnet6('[runtime]\nipv6 = "fd12:3456:789a:1::/64"\n')).toBe('fd12:3456:789a:1::/64')
})

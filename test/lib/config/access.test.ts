// Keys, quotas and tenants of the configuration: what is read, and what is told of what cannot be read.

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { changesBetween } from '../../../lib/config/changes.ts'
import { formatPath, linesOf } from '../../../lib/config/lines.ts'
import { nearestOf } from '../../../lib/config/nearest.ts'
import { needsKey, readConfig } from '../../../lib/config.ts'

const SECRET = 'hunter2-hunter2'
const hashOf = (key: string) => createHash('sha256').update(key).digest('hex')

function read(toml: string, env: Record<string, string> = {}) {
  const { problems, loaded, unused } = readConfig({
    env: { SANDBOX_CONFIG_PATH: '/c.toml', ...env },
    args: [],
    readFile: () => toml,
  })
  return { problems, unused, loaded }
}

function configOf(toml: string, env?: Record<string, string>) {
  const { problems, loaded } = read(toml, env)
  expect(problems).toEqual([])
  if (!loaded) throw new Error('nothing was loaded')
  return loaded.config
}

describe('[[auth.keys]]', () => {
  test('S19: several named keys, plain or hashed, with role and tenant; only hashes stay in memory', () => {
    const { auth } = configOf(`
[[auth.keys]]
name = "ops"
key = "${SECRET}"
role = "admin"

[[auth.keys]]
name = "ci"
key = "sha256:${hashOf('other').toUpperCase()}"
tenant = "red"
`)
    expect(auth.keys).toEqual([
      { name: 'ops', hash: hashOf(SECRET), role: 'admin' },
      { name: 'ci', hash: hashOf('other'), role: 'member', tenant: 'red' },
    ])
    expect(JSON.stringify(auth)).not.toContain(SECRET)
  })

  const key = (lines: string) => `[[auth.keys]]\nname = "a"\nkey = "k"\n\n[[auth.keys]]\n${lines}`
  test.each([
    ['name = "b"\n', '/c.toml:5: "auth.keys[1]" needs "key", and there is none'],
    ['key = "x"\n', '/c.toml:5: "auth.keys[1]" needs "name", and there is none'],
    [
      'name = "a"\nkey = "x"\n',
      '/c.toml:6: "auth.keys[1].name" must be a name that no other key has, but it is "a"',
    ],
    ['name = "default"\nkey = "x"\n', '"auth.keys[1].name" must be a name that no other key has'],
    [
      'name = "b"\nkey = "k"\n',
      '/c.toml:7: "auth.keys[1].key" must be a key that no other name has, but it is that of "a"',
    ],
    [
      `name = "b"\nkey = "sha256:${hashOf('k')}"\n`,
      'must be a key that no other name has, but it is that of "a"',
    ],
    [
      'name = "b"\nkey = "x"\nrole = "root"\n',
      '/c.toml:8: "auth.keys[1].role" must be one of "admin", "member", "read-only", but it is "root"',
    ],
    ['name = "b c"\nkey = "x"\n', '/c.toml:6: "auth.keys[1].name" must be 1 to 63 letters'],
    [
      'name = "b"\nkey = "x"\ntenant = "Red"\n',
      '/c.toml:8: "auth.keys[1].tenant" must be 1 to 63 lower-case letters',
    ],
    [
      'name = "b"\nkye = "x"\n',
      '/c.toml:7: "auth.keys[1].kye" is an unknown key: allowed are name, key, role, tenant; the nearest is "key"',
    ],
  ])('%j is refused with line, key, what was found and what is allowed', (lines, expected) => {
    expect(read(key(lines)).problems.join('\n')).toContain(expected)
  })

  test.each([
    `[[auth.keys]]\nname = "a"\nkey = " ${SECRET}"\n`,
    `[[auth.keys]]\nname = "a"\nkey = "sha256:${SECRET}"\n`,
    `[[auth.keys]]\nname = "a"\nkey = ["${SECRET}"]\n`,
    `[auth]\nkeys = "${SECRET}"\n`,
    `[auth]\nkeys = ["${SECRET}"]\n`,
    `[tenants]\nprovider = "http"\nendpoint = "http://user:${SECRET}@host/"\n`,
    `[tenants]\nprovider = "http"\nendpoint = "http://host/"\nauth_header = "x"\nauth_token = "${SECRET}\\n"\n`,
    `[server]\napi_key = ["${SECRET}"]\n`,
    `[[auth.keys]]\nkey = "${SECRET}\n`,
  ])('a secret is never shown, wherever it stands wrong: %j', (toml) => {
    const { problems } = read(toml)
    expect(problems.length).toBeGreaterThan(0)
    expect(problems.join('\n')).not.toContain(SECRET)
  })

  test('a flag that is not known is named without its value', () => {
    const { problems } = readConfig({ env: {}, args: [`--api-key=${SECRET}`], readFile: () => undefined })
    expect(problems).toEqual([expect.stringContaining('Unknown argument "--api-key": allowed are --config')])
    expect(problems.join()).not.toContain(SECRET)
  })

  test('a named key must not be the one of the operator, who may do more', () => {
    const toml = `[server]\napi_key = "${SECRET}"\n[[auth.keys]]\nname = "ci"\nrole = "read-only"\nkey = "sha256:${hashOf(SECRET)}"\n`
    const { problems } = read(toml)
    expect(problems).toEqual([
      '/c.toml:3: the key of "ci" must be another than server.api_key (/c.toml:2), but it is the same',
    ])
  })

  test('keys of the configuration let it listen for others', () => {
    const others = '[server]\nhost = "0.0.0.0"\n'
    expect(read(others).problems.join()).toContain('without an API key')
    expect(needsKey(configOf(`${others}[[auth.keys]]\nname = "a"\nkey = "k"\n`))).toBe(true)
    expect(needsKey(configOf(''))).toBe(false)
  })
})

describe('[quotas]', () => {
  test('a tenant has its own limits, the default for what it does not name, and none where it says so', () => {
    const { quotas } = configOf(`
[quotas.default]
sandboxes = 10
cpu = "500m"
memory = "8Gi"
[quotas.tenants.red]
cpu = 2.5
creates_per_minute = 60
snapshot_storage = "2Gi"
volume_storage = 4096
[quotas.tenants.constructor]
sandboxes = "unlimited"
memory = 1024
`)
    expect(quotas.default).toEqual({ sandboxes: 10, nanoCpus: 5e8, memoryBytes: 8 * 2 ** 30 })
    expect(quotas.tenants.get('red')).toEqual({
      sandboxes: 10,
      nanoCpus: 2.5e9,
      memoryBytes: 8 * 2 ** 30,
      createsPerMinute: 60,
      snapshotBytes: 2 * 2 ** 30,
      volumeBytes: 4096,
    })
    expect(quotas.tenants.get('constructor')).toEqual({ nanoCpus: 5e8, memoryBytes: 1024 })
  })

  test.each([
    [
      '[quotas.default]\nsandboxes = -1\n',
      '/c.toml:2: "quotas.default.sandboxes" must be a whole number from 0 to 1000000, or "unlimited", but it is -1',
    ],
    [
      '[quotas.default]\ncpu = "lots"\n',
      '/c.toml:2: "quotas.default.cpu" must be a number of CPUs such as 8, 0.5 or "500m", or "unlimited", but it is "lots"',
    ],
    ['[quotas.default]\ncpu = true\n', '"quotas.default.cpu" must be'],
    [
      '[quotas.default]\nmemory = "1.5Gi"\n',
      '/c.toml:2: "quotas.default.memory" must be an amount such as "64Gi"',
    ],
    [
      '[quotas.tenants.red]\nmemory_bytes = 5\n',
      '/c.toml:2: "quotas.tenants.red.memory_bytes" is an unknown key: allowed are sandboxes, cpu, memory, creates_per_minute',
    ],
    [
      '[quotas.tenants]\nred = 5\n',
      '/c.toml:2: "quotas.tenants.red" must be a table of sandboxes, cpu, memory',
    ],
    [
      '[quotas.tenants.Red]\ncpu = 5\n',
      '/c.toml:1: "quotas.tenants.Red" is no name of a tenant: allowed are lower-case',
    ],
    [
      '[quotas]\nsandboxes = 5\n',
      '/c.toml:2: unknown key "quotas.sandboxes": [quotas] knows requests_per_minute, default, tenants',
    ],
  ])('%j is refused', (toml, expected) => {
    expect(read(toml).problems.join('\n')).toContain(expected)
  })
})

describe('[tenants]', () => {
  const HTTP = '[tenants]\nprovider = "http"\nendpoint = "https://keys.example/whoami"\n'
  test.each([
    [
      '[tenants]\nprovider = "file"\n',
      { SANDBOX_TENANTS_CONFIG_PATH: '/t.toml' },
      { provider: 'file', path: '/t.toml' },
    ],
    [
      '[tenants]\nprovider = "file"\n',
      {},
      { provider: 'file', path: expect.stringMatching(/^\/.*\/\.opensandbox\/tenants\.toml$/) },
    ],
    [HTTP, {}, { provider: 'http', endpoint: 'https://keys.example/whoami', maxStaleSeconds: 300 }],
    [
      `${HTTP}auth_header = "Authorization"\nauth_token = "Bearer x"\nmax_stale_seconds = 0\n`,
      {},
      {
        provider: 'http',
        endpoint: 'https://keys.example/whoami',
        maxStaleSeconds: 0,
        auth: { name: 'Authorization', value: 'Bearer x' },
      },
    ],
  ])('%j with %j', (toml, env, expected) => {
    const config = configOf(toml, env as Record<string, string>)
    expect(config.tenants).toEqual(expected)
    expect(needsKey(config)).toBe(true)
  })

  test.each([
    [
      '[server]\napi_key = "k"\n[tenants]\nprovider = "file"\n',
      '/c.toml:4: "tenants.provider" is not possible together with server.api_key (/c.toml:2)',
    ],
    [
      '[tenants]\nprovider = "ldap"\n',
      '/c.toml:2: "tenants.provider" must be one of "file", "http", but it is "ldap"',
    ],
    ['[tenants]\nprovider = "http"\n', 'needs tenants.endpoint beside it'],
    [
      '[tenants]\nprovider = "http"\nendpoint = "ftp://x"\n',
      '/c.toml:3: "tenants.endpoint" must be an http or https URL',
    ],
    [
      '[tenants]\nprovider = "file"\nendpoint = "http://x"\n',
      '/c.toml:3: "tenants.endpoint" is for tenants.provider = "http" alone',
    ],
    [
      `${HTTP}auth_header = "X-Token"\n`,
      '/c.toml:4: "tenants.auth_header" needs tenants.auth_token beside it',
    ],
    [`${HTTP}auth_token = "x"\n`, '/c.toml:4: "tenants.auth_token" needs tenants.auth_header beside it'],
    [
      `${HTTP}auth_header = "a b"\nauth_token = "x"\n`,
      '/c.toml:4: "tenants.auth_header" must be the name of an HTTP header',
    ],
    [
      `${HTTP}auth_header = "open-sandbox-api-key"\nauth_token = "x"\n`,
      '/c.toml:4: "tenants.auth_header" must be another header than open-sandbox-api-key',
    ],
    [`${HTTP}max_stale_seconds = -1\n`, '/c.toml:4: "tenants.max_stale_seconds" must be an integer from 0'],
  ])('%j is refused', (toml, expected) => {
    const { problems } = read(toml)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(expected)
  })

  test('a key of the environment counts as one too', () => {
    const { problems } = read('[tenants]\nprovider = "file"\n', { OPENSANDBOX_SERVER_API_KEY: 'k' })
    expect(problems).toEqual([
      expect.stringContaining('together with server.api_key (Environment OPENSANDBOX_SERVER_API_KEY)'),
    ])
    expect(read('[tenants]\nprovider = "file"\n', { OPENSANDBOX_SERVER_API_KEY: '' }).problems).toEqual([])
  })
})

test.each([
  ['[sever]\nport = 1\n', 'unknown key "sever"', '; the nearest is "server"'],
  ['[server]\nprot = 1\n', 'unknown key "server.prot"', '; the nearest is "server.port"'],
  ['[server]\nlog_level = "info"\n', 'unknown key "server.log_level"', '; the nearest is "log.level"'],
  ['[runtime]\nimage = "x"\n', 'unknown key "runtime.image"', '; the nearest is "runtime.images"'],
])('an unknown key is told with the nearest known one: %j', (toml, unknown, nearest) => {
  const { problems } = read(toml)
  expect(problems).toEqual([expect.stringContaining(unknown)])
  expect(problems[0]?.endsWith(nearest), problems[0]).toBe(true)
})

test('keys without a meaning are told with their lines', () => {
  expect(read('[docker]\n\nnetwork_mode = "bridge"\n').unused).toEqual([
    { where: '/c.toml:3', name: 'docker.network_mode' },
  ])
})

test.each([
  ['a = 1\nb = 2\n', ['b'], 2],
  ['[a]\n[a.b]\nc = 1\n', ['a', 'b', 'c'], 3],
  ['[ a . "b.c" ]\n  "d" = 1\n', ['a', 'b.c', 'd'], 2],
  ['a.b.c = 1\n', ['a', 'b'], 1],
  ['[[a]]\nx = 1\n[[a]]\nx = 2\n', ['a', 1, 'x'], 4],
  ['[[a]]\n[a.b]\nc = 1\n[[a]]\n[a.b]\nc = 2\n', ['a', 1, 'b', 'c'], 6],
  ['[[a]]\n[[a.b]]\n[[a.b]]\n[[a]]\n[[a.b]]\nc = 1\n', ['a', 1, 'b', 0, 'c'], 6],
  ['x = """\nb = 1\n"""\nb = 2\n', ['b'], 4],
  ['# b = 1\nb = 2 # c = 3\n', ['b'], 2],
  ['a = [\n  "b = 1",\n]\n', ['a', 0], 1],
  ['a = 1\n', ['nothing'], 1],
] as const)('linesOf(%j) at %j is %i', (source, path, line) => {
  expect(linesOf(source)(path)).toBe(line)
})

test('the line of a key is where it was written, whatever stands around it', () => {
  const name = fc.stringMatching(/^[a-z]{1,6}$/)
  const shape = fc.uniqueArray(fc.tuple(name, fc.uniqueArray(name, { minLength: 1, maxLength: 4 })), {
    selector: ([section]) => section,
    minLength: 1,
    maxLength: 5,
  })
  fc.assert(
    fc.property(shape, (sections) => {
      const lines: string[] = []
      const written: { path: string[]; line: number }[] = []
      for (const [section, keys] of sections) {
        lines.push(`[${section}]`, '# comment = 1')
        for (const key of keys) written.push({ path: [section, key], line: lines.push(`${key} = "x = 1"`) })
      }
      const lineOf = linesOf(lines.join('\n'))
      for (const { path, line } of written) expect(lineOf(path)).toBe(line)
    }),
  )
})

test('formatPath() writes a place as users do', () => {
  expect(formatPath(['auth', 'keys', 0, 'role'])).toBe('auth.keys[0].role')
  expect(formatPath(['a', 'b c'])).toBe('a."b c"')
})

test.each([
  ['prot', ['port', 'host'], 'port'],
  ['nothing_like_it', ['port', 'host'], undefined],
  ['hsot', ['port', 'host'], 'host'],
  ['', ['port'], undefined],
])('nearestOf(%j, %j) is %j', (name, known, expected) => {
  expect(nearestOf(name, known)).toBe(expected)
})

test('changesBetween() names what differs, keys and tenants one by one', () => {
  const before = read(
    '[server]\nport = 1\n[[auth.keys]]\nname = "a"\nkey = "1"\n[[auth.keys]]\nname = "b"\nkey = "2"\n[quotas.tenants.red]\ncpu = 1\n',
  ).loaded
  const after = read(
    '[server]\nport = 2\n[[auth.keys]]\nname = "b"\nkey = "3"\n[[auth.keys]]\nname = "c"\nkey = "4"\n[quotas.tenants.red]\ncpu = 1\n[quotas.tenants.blue]\ncpu = 1\n',
  ).loaded
  if (!before || !after) throw new Error('nothing was loaded')
  expect(changesBetween(before.settings, after.settings)).toEqual([
    'auth.keys.a',
    'auth.keys.b',
    'auth.keys.c',
    'quotas.tenants.blue',
    'server.port',
  ])
  expect(changesBetween(before.settings, before.settings)).toEqual([])
})

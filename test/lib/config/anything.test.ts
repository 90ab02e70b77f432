// Whatever a file holds: it is read, or its problems are told, with a line of it each and without what is secret.

import fc from 'fast-check'
import { stringify } from 'smol-toml'
import { expect, test } from 'vitest'
import { parseTenants } from '../../../lib/config/tenants-file.ts'
import { readConfig } from '../../../lib/config.ts'

const SECRET = 'hunter2-hunter2'

const scalar = fc.oneof(
  fc.string(),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') }),
  fc.constantFrom('unlimited', '500m', '64Gi', 'sha256:', 'file', 'http', 'admin', 'red', '*'),
)
const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, scalar, fc.array(scalar), tie('table'), fc.array(tie('table'))),
  table: fc.dictionary(
    fc.oneof(
      fc.constantFrom(
        'name',
        'key',
        'role',
        'tenant',
        'namespace',
        'api_keys',
        'cpu',
        'memory',
        'sandboxes',
        'red',
      ),
      fc.string(),
    ),
    tie('value'),
    { maxKeys: 4, noNullPrototype: true },
  ),
})).value

const section = (...keys: string[]) =>
  fc.dictionary(fc.constantFrom(...keys, 'other'), value, { maxKeys: 4, noNullPrototype: true })
const file = fc.record(
  {
    server: section('host', 'port', 'api_key', 'cors_origins'),
    auth: section('keys', 'allow_no_key'),
    quotas: section('default', 'tenants'),
    tenants: section('provider', 'endpoint', 'auth_header', 'auth_token', 'max_stale_seconds'),
    egress: section(
      'default_action',
      'always_deny',
      'always_allow',
      'upstream_dns',
      'deny_webhook',
      'dns_limits',
      'proxy',
    ),
    docker: section('network_mode'),
  },
  { requiredKeys: [], noNullPrototype: true },
)

function check(source: string): string[] {
  const { problems, loaded } = readConfig({
    env: { SANDBOX_CONFIG_PATH: '/c.toml' },
    args: [],
    readFile: () => source,
  })
  expect(loaded === undefined).toBe(problems.length > 0)
  const lines = source.split('\n').length
  for (const problem of problems) {
    const place = /^\/c\.toml:(\d+): /.exec(problem)
    // What is wrong between settings may have no place in the file.
    if (place) expect(Number(place[1])).toBeLessThanOrEqual(lines)
    else expect(problem).toMatch(/^(Configuration: |Cannot listen on )/)
  }
  return problems
}

test('any text is read, or its problems are told', () => {
  fc.assert(fc.property(fc.string(), (source) => void check(source)))
  fc.assert(fc.property(fc.string(), (source) => void parseTenants(source, '/t.toml')))
})

test('any values under the names that are known are read, or their problems are told', () => {
  fc.assert(
    fc.property(file, (content) => void check(stringify(content))),
    { numRuns: 500 },
  )
})

test('any file of tenants is read, or its problems are told', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom('tenants', 'other'), value, { noNullPrototype: true }),
      (content) => {
        const { tenants, problems } = parseTenants(stringify(content), '/t.toml')
        for (const hash of tenants.keys()) expect(hash).toMatch(/^[0-9a-f]{64}$/)
        for (const problem of problems) expect(problem).toMatch(/^\/t\.toml:\d+: /)
      },
    ),
    { numRuns: 500 },
  )
})

test('a secret stays one, whatever stands around it', () => {
  const place = fc.constantFrom(
    (wrong: unknown) => ({ server: { api_key: [SECRET, wrong] } }),
    (wrong: unknown) => ({ auth: { keys: [{ name: wrong, key: SECRET, role: wrong }] } }),
    (wrong: unknown) => ({ auth: { keys: [{ name: 'a', key: [SECRET, wrong] }] } }),
    (wrong: unknown) => ({ auth: { keys: [SECRET, wrong] } }),
    (wrong: unknown) => ({ auth: { keys: { a: SECRET, b: wrong } } }),
    (wrong: unknown) => ({ tenants: { provider: wrong, auth_header: wrong, auth_token: SECRET } }),
    (wrong: unknown) => ({
      tenants: { provider: 'http', endpoint: `http://u:${SECRET}@h/`, auth_token: wrong },
    }),
    (wrong: unknown) => ({ metrics: { token: [SECRET, wrong] } }),
    (wrong: unknown) => ({ otel: { headers: { authorization: `${SECRET}\n`, other: wrong } } }),
  )
  fc.assert(
    fc.property(place, value, (make, wrong) => {
      expect(check(stringify(make(wrong))).join('\n')).not.toContain(SECRET)
    }),
    { numRuns: 300 },
  )
})

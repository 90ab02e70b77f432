// `npm run check-config` as it is called: what it prints, and its exit code.

import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { formatKey, makeCertificate, makeKeyPair } from '../../lib/x509.ts'

const ROOT = join(import.meta.dirname, '../..')
const SECRET = 'hunter2-hunter2'

function check(toml: string | undefined, args: string[] = [], env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'check-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'c.toml')
  if (toml !== undefined) writeFileSync(file, toml)
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, 'launcher/check-config.ts'), ...(toml === undefined ? [] : ['--config', file]), ...args],
    { env: { PATH: process.env.PATH, HOME: folder, ...env }, encoding: 'utf8', timeout: 20_000 },
  )
  return { status, file, folder, stdout, stderr, lines: `${stderr}${stdout}`.trim().split('\n') }
}

test('is a script of the package, and tells how it is called', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  expect(scripts['check-config']).toBe('node launcher/run.mjs launcher/check-config.ts')
  const { status, stdout } = check(undefined, ['--help'])
  expect([status, stdout]).toEqual([0, expect.stringContaining('Usage: npm run check-config')])
})

test('a right one is right, with what of it is not used', () => {
  const { status, lines, file } = check('[server]\nport = 8081\n\n[docker]\nnetwork_mode = "bridge"\n')
  expect(status).toBe(0)
  expect(lines).toEqual([
    `${file}:5: "docker.network_mode" has no meaning here and is not used`,
    `The configuration "${file}" is right`,
  ])
})

test('none at all is right, too', () => {
  const { status, lines } = check(undefined)
  expect([status, lines]).toEqual([0, ['The configuration without a file is right']])
})

test('every problem is printed with file, line, key, what was found and what is allowed', () => {
  const { status, lines, file } = check(
    `[server]\nport = 70000\nprot = 1\napi_key = ["${SECRET}"]\n[[auth.keys]]\nname = "ci"\nkey = "sha256:${SECRET}"\n[egress]\nupstream_dns = ["dns.example"]\n[sever]\n`,
    [],
    { OPENSANDBOX_LOG_LEVEL: 'loud' },
  )
  expect(status).toBe(1)
  expect(lines).toEqual([
    `${file}:2: "server.port" must be an integer from 1 to 65535, but it is 70000`,
    expect.stringMatching(/c\.toml:3: unknown key "server\.prot": .*; the nearest is "server\.port"$/),
    `${file}:4: "server.api_key" must be empty, or one line of visible ASCII characters and spaces, but it is something else`,
    expect.stringMatching(/c\.toml:7: "auth\.keys\[0\]\.key" must be a key .*, but it is something else$/),
    expect.stringMatching(
      /c\.toml:9: "egress\.upstream_dns\[0\]" must be an IP address .* it is "dns\.example"$/,
    ),
    expect.stringMatching(/c\.toml:10: unknown key "sever": .*; the nearest is "server"$/),
    'Environment OPENSANDBOX_LOG_LEVEL: "log.level" must be one of "debug", "info", "warn", "error", "DEBUG", "INFO", "WARNING", "WARN", "ERROR", but it is "loud"',
    `The configuration "${file}" has 7 problems`,
  ])
  expect(lines.join()).not.toContain(SECRET)
})

test.each([
  ['[server\n', [], /c\.toml:1: not valid TOML/],
  ['', ['--config', '/no/such/file'], /there is no such file/],
  ['', ['--config', '/etc'], /Cannot read the configuration "\/etc": EISDIR/],
  ['', ['--prot', '1'], /Unknown argument "--prot"/],
  ['', ['--host', '0.0.0.0'], /without an API key/],
  [
    '',
    ['--runtime', 'dokcer'],
    /--runtime: "runtime\.type" must be one of "local", "docker", but it is "dokcer"$/,
  ],
])('%j with %j is wrong', (toml, args, expected) => {
  const { status, lines } = check(toml, args)
  expect([status, lines]).toEqual([1, expect.arrayContaining([expect.stringMatching(expected)])])
  expect(lines.join('\n')).not.toContain('    at ')
})

test('the flags of npm start are taken', () => {
  expect(check('', ['--port', '9000', '--stop-sandboxes', '--no-install']).status).toBe(0)
})

test('the file of tenants is looked into as well', () => {
  const config = '[tenants]\nprovider = "file"\n'
  const missing = check(config, [], { SANDBOX_TENANTS_CONFIG_PATH: '/no/such/tenants' })
  expect([missing.status, missing.lines[0]]).toEqual([
    1,
    'Cannot read the tenants "/no/such/tenants": there is no such file',
  ])
  const tenants = join(missing.folder, 'tenants.toml')
  writeFileSync(tenants, `[[tenants]]\nname = "red"\napi_keys = ["${SECRET}"]\n`)
  const wrong = check(config, [], { SANDBOX_TENANTS_CONFIG_PATH: tenants })
  expect([wrong.status, wrong.lines[0]]).toEqual([
    1,
    `${tenants}:1: "tenants[0]" needs "namespace", and there is none`,
  ])
  writeFileSync(tenants, `[[tenants]]\nname = "red"\nnamespace = "red"\napi_keys = ["${SECRET}"]\n`)
  expect(check(config, [], { SANDBOX_TENANTS_CONFIG_PATH: tenants }).status).toBe(0)
})

test('the authorities of servers that get secrets are looked into as well', () => {
  const of = (path: string) => check(`[egress]\nupstream_ca_file = "${path}"\n`)
  const missing = of('/no/such/ca.pem')
  const authorities = join(missing.folder, 'ca.pem')
  const why = (path: string) => `Cannot use the authorities in "${path}" (egress.upstream_ca_file): `
  expect([missing.status, missing.lines[0]]).toEqual([
    1,
    `${why('/no/such/ca.pem')}it cannot be read (ENOENT)`,
  ])
  writeFileSync(authorities, 'no certificate')
  const wrong = of(authorities)
  expect([wrong.status, wrong.lines[0]]).toEqual([
    1,
    `${why(authorities)}there is no certificate in PEM in it`,
  ])
  writeFileSync(authorities, rootCertificates[0] ?? '')
  expect(of(authorities).status).toBe(0)
})

test('the certificates of the gateway are looked into as well, each of them', () => {
  const folder = mkdtempSync(join(tmpdir(), 'check-tls-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const make = (name: string, days: number) => {
    const { privateKey, publicKey } = makeKeyPair()
    const order = { name, publicKey, issuer: { name, key: privateKey }, serverNames: [`*.${name}`] }
    const notAfter = Date.now() + days * 86_400_000
    writeFileSync(join(folder, name), makeCertificate({ ...order, notBefore: notAfter - 1e10, notAfter }))
    writeFileSync(join(folder, `${name}.key`), formatKey(privateKey), { mode: 0o600 })
  }
  const path = (name: string) => join(folder, name)
  const of = (...pairs: [string, string][]) => {
    const tables = pairs.map(
      ([certificate, key]) =>
        `[[front.tls.certificates]]\ncertificate = "${path(certificate)}"\nkey = "${path(key)}"\n`,
    )
    return check(`[ingress]\ndomain = "box.example"\n[front.tls]\nport = 8443\n${tables.join('')}`)
  }
  make('box.example', 1)
  make('other.example', 1)
  make('old.example', -1)
  const right = of(['box.example', 'box.example.key'])
  expect([right.status, right.lines]).toEqual([0, [`The configuration "${right.file}" is right`]])

  const wrong = of(
    ['none', 'box.example.key'],
    ['box.example', 'other.example.key'],
    ['old.example', 'old.example.key'],
  )
  expect([wrong.status, wrong.lines]).toEqual([
    1,
    [
      `Cannot read "${path('none')}": there is no such file`,
      `Cannot use the certificate "${path('box.example')}" with the key "${path('other.example.key')}": they do not belong together`,
      expect.stringContaining(`The certificate "${path('old.example')}" has expired: it was valid until 2`),
      `The configuration "${wrong.file}" has 3 problems`,
    ],
  ])

  chmodSync(path('other.example.key'), 0o644)
  const doubtful = of(['other.example', 'other.example.key'])
  expect([doubtful.status, doubtful.lines]).toEqual([
    0,
    [
      `The key "${path('other.example.key')}" can be read by everybody on this machine: its mode is 0644, and 0600 is enough`,
      expect.stringContaining('{id}-{port}.box.example: that takes one for "*.box.example"'),
      `The configuration "${doubtful.file}" is right`,
    ],
  ])
})

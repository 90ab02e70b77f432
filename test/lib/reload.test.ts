// The configuration read again: what is told, what counts, and what a wrong file changes (nothing).

import { expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../lib/config.ts'
import { createLogger } from '../../lib/log.ts'
import { createReload, type ReloadOptions } from '../../lib/reload.ts'
import { decideHangUp } from '../../lib/stop.ts'

const SECRET = 'hunter2-hunter2'
const START = '[server]\nport = 1\n[log]\nlevel = "info"\n'
const RELOADABLE = ['log.level', 'server.api_key', 'auth.keys', 'quotas', 'tenants']

function open(apply: ReloadOptions['apply'] = () => {}) {
  let file = START
  const lines: string[] = []
  const applied: string[][] = []
  const load = () => loadConfig({ env: { SANDBOX_CONFIG_PATH: '/c.toml' }, args: [], readFile: () => file })
  const reload = createReload({
    settings: load().settings,
    load,
    reloadable: RELOADABLE,
    elsewhere: ['egress.default_action'],
    async apply(config, changed) {
      await apply(config, changed)
      applied.push([config.log.level, ...changed])
    },
    log: createLogger({ program: 'p', write: (line) => void lines.push(line), now: () => new Date(0) }),
  })
  return {
    lines,
    applied,
    reload: (next?: string) => {
      file = next ?? file
      return reload()
    },
  }
}

test('one line says what has changed, by name alone, and what needs a restart', async () => {
  const { reload, lines, applied } = open()
  await reload(
    `[server]\nport = 2\napi_key = "${SECRET}"\n[log]\nlevel = "debug"\n[runtime]\npids_limit = 100\n[[auth.keys]]\nname = "ci"\nkey = "${SECRET}2"\n[quotas.tenants.red]\ncpu = 1\n`,
  )
  expect(lines).toEqual([
    '1970-01-01T00:00:00.000Z info p the configuration was read again changed="auth.keys.ci, log.level, quotas.tenants.red, server.api_key" needsRestart="runtime.pids_limit, server.port"\n',
  ])
  expect(applied).toEqual([['debug', 'auth.keys.ci', 'log.level', 'quotas.tenants.red', 'server.api_key']])
  expect(lines.join('')).not.toContain(SECRET)
})

test('what another program takes is left to it to tell', async () => {
  const { reload, lines, applied } = open()
  await reload(`${START}[egress]\ndefault_action = "deny"\n`)
  expect(lines[0]).toMatch(/changed=nothing\n$/)
  expect(applied).toEqual([])
})

test('what needs a restart is told again until it is no longer different', async () => {
  const { reload, lines, applied } = open()
  await reload(START.replace('1', '2'))
  await reload()
  await reload(START)
  expect(lines.map((line) => line.slice(line.indexOf('changed=')))).toEqual([
    'changed=nothing needsRestart=server.port\n',
    'changed=nothing needsRestart=server.port\n',
    'changed=nothing\n',
  ])
  expect(applied).toEqual([])
})

test.each([
  ['[server\n', '/c.toml:1: not valid TOML'],
  ['[log]\nlevel = "loud"\n', '\\"log.level\\" must be one of'],
  ['[server]\nprot = 1\n', 'unknown key'],
  ['[server]\nhost = "0.0.0.0"\n', 'without an API key'],
])('a wrong file changes nothing and says why: %j', async (wrong, expected) => {
  const { reload, lines, applied } = open()
  await reload(wrong)
  expect(lines).toHaveLength(1)
  expect(lines[0]).toContain('error p the configuration cannot be read again: everything stays as it was')
  expect(lines[0]).toContain(expected)
  expect(applied).toEqual([])
  await reload(START.replace('info', 'warn'))
  expect(applied).toEqual([['warn', 'log.level']])
})

test('what cannot be applied counts as not read', async () => {
  let isThere = false
  const { reload, lines, applied } = open(() => {
    if (!isThere) throw new ConfigError(['Cannot read the tenants "/t": there is no such file'])
  })
  await reload(`${START}[tenants]\nprovider = "file"\n`)
  expect(lines[0]).toContain('there is no such file')
  isThere = true
  await reload()
  expect(lines[1]).toContain('changed=tenants.provider\n')
  expect(applied).toHaveLength(1)
})

test('asked many times while it reads, it reads once more', async () => {
  const waiting: (() => void)[] = []
  const { reload, applied } = open(() => new Promise<void>((resolve) => void waiting.push(resolve)))
  const first = reload(START.replace('info', 'warn'))
  await expect.poll(() => waiting.length).toBe(1)
  const later = [reload(START.replace('info', 'error')), reload(), reload()]
  waiting[0]?.()
  await first
  await expect.poll(() => waiting.length).toBe(2)
  waiting[1]?.()
  await Promise.all(later)
  expect(applied.map(([level]) => level)).toEqual(['warn', 'error'])
})

test.each([
  [{ isChild: true, hasTerminal: true }, 'reload'],
  [{ isChild: true, hasTerminal: false }, 'reload'],
  [{ isChild: false, hasTerminal: true }, 'stop'],
  [{ isChild: false, hasTerminal: false }, 'reload'],
])('decideHangUp(%j) is %s', (program, expected) => {
  expect(decideHangUp(program)).toBe(expected)
})

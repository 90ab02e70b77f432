// The program as it is started: what it refuses, each with one sentence and exit code 1, and nothing left behind.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { instanceOf } from '../../lib/instance.ts'
import { openLock } from '../../lib/lock.ts'

const MAIN = join(import.meta.dirname, '../../control/main.ts')

function openDataDir(): string {
  const dataDir = mkdtempSync(join(tmpdir(), 'control-main-'))
  const { runDir } = instanceOf(dataDir)
  onTestFinished(() => {
    rmSync(dataDir, { recursive: true, force: true })
    rmSync(runDir, { recursive: true, force: true })
  })
  return dataDir
}

function run(args: string[], env: Record<string, string> = {}) {
  const child: ChildProcess = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk))
  return new Promise<{ code: number | null; output: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, output }))
  })
}

test('--help tells how it is called', async () => {
  const { code, output } = await run(['--help'])
  expect([code, output]).toEqual([0, expect.stringContaining('--listen HOST:PORT')])
})

test.each([
  [['--listen', 'nowhere'], '--listen must be HOST:PORT'],
  [['--listen', '0.0.0.0:8080'], 'without an API key'],
  [['--nonsense'], 'Unknown argument "--nonsense"'],
  [['--config', '/no/such/file'], 'there is no such file'],
])('%j is refused', async (args, message) => {
  const { code, output } = await run([...args, '--data-dir', openDataDir()])
  expect([code, output]).toEqual([1, expect.stringContaining(message)])
  expect(output).not.toContain('    at ')
})

test.each([
  ['[server\n', ':1: not valid TOML'],
  ['[server]\nprot = 1\n', ':2: unknown key "server.prot"'],
  ['[tenants]\nprovider = "file"\n', 'Cannot read the tenants "/no/such/tenants": there is no such file'],
  ['[server]\napi_key = "k"\n[tenants]\nprovider = "file"\n', 'not possible together with server.api_key'],
])(
  'L17: a start that the configuration %j makes impossible says why in one sentence',
  async (toml, message) => {
    const dataDir = openDataDir()
    const file = join(dataDir, 'c.toml')
    writeFileSync(file, toml)
    const env = { SANDBOX_TENANTS_CONFIG_PATH: '/no/such/tenants' }
    const { code, output } = await run(['--config', file, '--data-dir', dataDir], env)
    expect([code, output]).toEqual([1, expect.stringContaining(message)])
    expect(output.trim().split('\n')).toHaveLength(1)
  },
)

test('a second control with the same data directory is refused', async () => {
  const dataDir = openDataDir()
  using lock = openLock(join(dataDir, 'control.lock'))
  expect(lock).toBeDefined()
  const { code, output } = await run(['--data-dir', dataDir])
  expect([code, output]).toEqual([1, expect.stringContaining('Another control program already runs')])
})

test('a data directory that cannot be made is refused', async () => {
  const file = join(openDataDir(), 'file')
  writeFileSync(file, '')
  const { code, output } = await run(['--data-dir', join(file, 'below')])
  expect([code, output]).toEqual([1, expect.stringContaining('Cannot make the data directory')])
})

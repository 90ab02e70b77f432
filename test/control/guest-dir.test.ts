import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { parseLdd, prepareGuestDir } from '../../control/runtime/guest-dir.ts'
import { EXCHANGE_DIR, GUEST_DIR } from '../../lib/api/guest.ts'
import { createSilentLogger } from '../../lib/log.ts'

let dataDir: string
beforeAll(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'guest-dir-'))
})
afterAll(() => rmSync(dataDir, { recursive: true, force: true }))

const prepare = (dir = dataDir) =>
  prepareGuestDir({ dataDir: dir, log: createSilentLogger(), signal: AbortSignal.timeout(60_000) })

describe('prepareGuestDir()', () => {
  test('makes the directory once, whoever asks at the same time, and leaves nothing else', async () => {
    const made = await Promise.all([prepare(), prepare(), prepare()])
    expect(new Set(made.map(({ path }) => path)).size).toBe(1)
    expect(readdirSync(join(dataDir, 'guest'))).toHaveLength(1)
    const { ino } = statSync(made[0].path)
    expect(await prepare()).toEqual(made[0])
    expect(statSync(made[0].path).ino).toBe(ino)
  })

  test('gives a command of absolute paths below its mount, and files that every user can read', async () => {
    const { path, command } = await prepare()
    expect(command).toEqual(JSON.parse(readFileSync(join(path, 'command.json'), 'utf8')))
    const files = command.filter((argument) => argument.startsWith('/') && argument !== EXCHANGE_DIR)
    expect(files.length).toBeGreaterThan(4)
    for (const file of files) {
      expect(file.startsWith(`${GUEST_DIR}/`)).toBe(true)
      expect(existsSync(join(path, file.slice(GUEST_DIR.length)))).toBe(true)
    }
    for (const name of ['', ...(readdirSync(path, { recursive: true }) as string[])])
      expect(lstatSync(join(path, name)).mode & 0o044).toBe(0o044)
  })

  test('makes nothing when it is stopped', async () => {
    const other = mkdtempSync(join(tmpdir(), 'guest-dir-'))
    onTestFinished(() => rmSync(other, { recursive: true, force: true }))
    const stopped = prepareGuestDir({
      dataDir: other,
      log: createSilentLogger(),
      signal: AbortSignal.abort(new Error('stopped')),
    })
    await expect(stopped).rejects.toThrow('stopped')
    expect(readdirSync(other)).toEqual([])
  })

  test('runs in a root file system that has nothing at all', async (context) => {
    const bwrap = spawnSync('bwrap', ['--ro-bind', '/', '/', '--unshare-pid', '--as-pid-1', 'true'])
    if (bwrap.status !== 0) return context.skip('bubblewrap is missing or may not make namespaces')
    const { path, command } = await prepare()
    const root = join(dataDir, 'root')
    const exchange = join(dataDir, 'exchange')
    for (const dir of ['proc', 'dev', 'opt/opensandbox', 'run/opensandbox'])
      mkdirSync(join(root, dir), { recursive: true })
    mkdirSync(exchange)
    writeFileSync(
      join(exchange, 'boot.json'),
      JSON.stringify({
        token: 't',
        host: '127.0.0.1',
        port: 0,
        // There is no other program than ours.
        entrypoint: [`${GUEST_DIR}/bin/tini`, '-h'],
        env: {},
        workdir: '/work/deep',
        stopGraceMs: 1000,
      }),
    )
    const binds = ['--bind', root, '/', '--ro-bind', path, GUEST_DIR, '--bind', exchange, '/run/opensandbox']
    const namespaces = [
      '--proc',
      '/proc',
      '--dev',
      '/dev',
      '--unshare-pid',
      '--as-pid-1',
      '--die-with-parent',
    ]
    const child = spawn('bwrap', [...binds, ...namespaces, '--', ...command], { stdio: 'ignore', env: {} })
    const [code] = await once(child, 'exit')
    expect(code).toBe(0)
    expect(JSON.parse(readFileSync(join(exchange, 'ready.json'), 'utf8'))).toMatchObject({ ok: true })
    expect(JSON.parse(readFileSync(join(exchange, 'exit.json'), 'utf8'))).toEqual({ exitCode: 0 })
    expect(readFileSync(join(exchange, 'entrypoint.log'), 'utf8')).toContain('Usage: tini')
    expect(existsSync(join(root, 'work/deep'))).toBe(true)
  })
})

test('parseLdd() reads both kinds of line, and names a library that is missing', () => {
  const text =
    '\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f10)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f20)\n'
  const { loader, libraries } = parseLdd(text)
  expect(loader).toBe('/lib64/ld-linux-x86-64.so.2')
  expect([...libraries]).toEqual([
    ['libc.so.6', '/lib/libc.so.6'],
    ['ld-linux-x86-64.so.2', '/lib64/ld-linux-x86-64.so.2'],
  ])
  expect(parseLdd('\t/lib/ld-linux-aarch64.so.1 (0x0000ffff)\n').loader).toBe('/lib/ld-linux-aarch64.so.1')
  expect(() => parseLdd('\tlibx.so => not found\n')).toThrow('"libx.so" is missing')
})

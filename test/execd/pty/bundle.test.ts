// Terminals as sandboxes have them: execd bundled, run by the loader of its runtime directory, in namespaces of its own.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, type TestContext, test } from 'vitest'
import { prepareGuestDir } from '../../../control/runtime/guest-dir.ts'
import { type BootFile, EXCHANGE_DIR, GUEST_DIR, type ReadyFile } from '../../../lib/api/guest.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { until } from '../daemon.ts'
import { createPty, openSocket, PtyClient, type PtyServer } from './pty-client.ts'

let dataDir: string
let guestDir: string
let command: string[]
beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'pty-bundle-'))
  const signal = AbortSignal.timeout(60_000)
  const guest = await prepareGuestDir({ dataDir, log: createSilentLogger(), signal })
  guestDir = guest.path
  command = guest.command
})
afterAll(() => rmSync(dataDir, { recursive: true, force: true }))

const namespaces = ['--proc', '/proc', '--dev', '/dev', '--unshare-pid', '--as-pid-1', '--die-with-parent']

/** A program of the runtime directory, which runs on any root. */
function ownProgram(name: string): string[] {
  const { loader } = JSON.parse(readFileSync(join(guestDir, 'layout.json'), 'utf8')) as { loader: string }
  return [`${GUEST_DIR}/${loader}`, '--library-path', `${GUEST_DIR}/lib`, `${GUEST_DIR}/bin/${name}`]
}

async function startSandbox(root: string[], boot: Partial<BootFile>): Promise<PtyServer> {
  const exchange = mkdtempSync(join(dataDir, 'exchange-'))
  const file: BootFile = {
    token: 'secret-token',
    host: '127.0.0.1',
    port: 0,
    entrypoint: ['sleep', '1000'],
    env: {},
    workdir: '/work',
    stopGraceMs: 1000,
    ...boot,
  }
  writeFileSync(join(exchange, 'boot.json'), JSON.stringify(file))
  const child = spawn(
    'bwrap',
    [
      ...root,
      '--ro-bind',
      guestDir,
      GUEST_DIR,
      '--bind',
      exchange,
      EXCHANGE_DIR,
      ...namespaces,
      '--',
      ...command,
    ],
    { stdio: 'ignore', env: {} },
  )
  onTestFinished(() => end(child))
  const ready = join(exchange, 'ready.json')
  await until(async () => existsSync(ready), 'the start of execd')
  const { port } = JSON.parse(readFileSync(ready, 'utf8')) as Extract<ReadyFile, { ok: true }>
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    call: (path, init = {}) =>
      fetch(url + path, { ...init, headers: { 'X-EXECD-ACCESS-TOKEN': file.token } }),
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

function needsNamespaces(context: TestContext): void {
  const bwrap = spawnSync('bwrap', ['--ro-bind', '/', '/', '--unshare-pid', '--as-pid-1', 'true'])
  if (bwrap.status !== 0) context.skip('bubblewrap is missing or may not make namespaces')
}

test('a shell on a terminal, in a system like that of an image', async (context) => {
  needsNamespaces(context)
  const root = [
    ...['--ro-bind', '/usr', '/usr', '--ro-bind', '/etc', '/etc'],
    ...['bin', 'sbin', 'lib', 'lib64'].flatMap((name) =>
      existsSync(`/${name}`) ? ['--symlink', `usr/${name}`, `/${name}`] : [],
    ),
    ...['--tmpfs', '/work', '--tmpfs', '/tmp'],
  ]
  const server = await startSandbox(root, { env: { PATH: '/usr/bin:/bin' } })
  const client = await PtyClient.connect(server, await createPty(server))
  client.resize(100, 30)
  expect(await client.run('tty; stty size; pwd')).toMatch(/\/dev\/pts\/\d+\r\n30 100\r\n\/work\r\n/)
  expect(await client.run('ls -l /proc/self/fd')).not.toContain('ptmx')
  const other = await PtyClient.connect(server, await createPty(server, { uid: 1234, cwd: '/tmp' }), '?pty=0')
  expect(await other.run('id -u; id -G; tty')).toBe('1234\n1234\nnot a tty\n')
  client.type('exit 9\n')
  expect(await client.text('exit')).toEqual({ type: 'exit', exit_code: 9 })
})

test('a program on a terminal, where there is nothing but it', async (context) => {
  needsNamespaces(context)
  const root = join(dataDir, 'root')
  for (const dir of ['proc', 'dev', 'opt/opensandbox', 'run/opensandbox'])
    mkdirSync(join(root, dir), { recursive: true })
  const entrypoint = [...ownProgram('node'), '-e', 'setInterval(() => {}, 1e6)']
  const server = await startSandbox(['--bind', root, '/'], { entrypoint })
  const argv = [...ownProgram('dash'), '-i']
  const client = await PtyClient.connect(server, await createPty(server, { argv }))
  client.type('echo $((6*7)) > /dev/tty\n')
  await client.see(/42\r\n/)
  const id = await createPty(server)
  const none = new PtyClient(openSocket(server, id))
  expect((await none.text('error')).error).toContain('neither "bash" nor "sh"')
})

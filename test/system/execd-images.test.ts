// execd in images that have hardly anything: no bash, no C library, no file but one; as another user than root; with a root that
// cannot be written; with 64 MiB and a tenth of a CPU.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { prepareGuestDir } from '../../control/runtime/guest-dir.ts'
import { EXCHANGE_DIR, GUEST_DIR } from '../../lib/api/guest.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { outputOf, until } from '../execd/daemon.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { type Execd, execdOf } from '../support/execd.ts'
import { busyboxTarball, debianTarball, ociLayout, staticTarball } from '../support/images.ts'
import { createSandbox } from '../support/sandbox.ts'

let edge: Edge
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'execd-images-'))
  const busybox = busyboxTarball(folder)
  const asUser = ociLayout(folder, 'user', busybox, [
    '--config.user',
    'user',
    '--config.workingdir',
    '/home/user',
  ])
  edge = await startEdge({
    config: `[runtime.images]
debian = "${debianTarball()}"
busybox = "${busybox}"
user = "${asUser}"
static = "${ociLayout(folder, 'one-file', staticTarball(folder), [])}"
`,
  })
}, 300_000)

afterAll(async () => {
  await edge?.dispose()
  rmSync(folder, { recursive: true, force: true })
}, 120_000)

async function start(image: string, entrypoint: string[]): Promise<{ sandbox: Sandbox; execd: Execd }> {
  const sandbox = await createSandbox(edge, { image, entrypoint, resource: { cpu: '0.1', memory: '64Mi' } })
  return { sandbox, execd: await execdOf(edge, sandbox.id) }
}

const upload = (path: string, content: string) => {
  const form = new FormData()
  form.append('metadata', new Blob([JSON.stringify({ path })], { type: 'application/json' }), 'metadata')
  form.append('file', new Blob([content]), 'file')
  return { method: 'POST', body: form }
}

describe.each([
  ['debian', ['sleep', '3600'], 'bash'],
  ['busybox', ['sleep', '3600'], 'sh'],
  ['user', ['sleep', '3600'], 'sh'],
  ['static', ['/sleep', '3600'], undefined],
])('in the image "%s" with 64 MiB and 0.1 CPU', (image, entrypoint, shell) => {
  let sandbox: Sandbox
  let execd: Execd
  beforeAll(async () => {
    ;({ sandbox, execd } = await start(image, entrypoint))
  }, 120_000)
  afterAll(async () => {
    await sandbox?.kill()
    await sandbox?.close()
  })

  test('programs run, and a command line does or says what it needs', async () => {
    const direct = await execd.events('/command', { argv: [entrypoint[0], '0'] })
    expect(direct.at(-1)).toMatchObject({ type: 'execution_complete' })
    const line = await execd.events('/command', { command: 'echo "$0" $((6 * 7)); id -u' })
    if (shell)
      expect(outputOf(line)).toBe(
        `/bin/${shell} 42\n${image === 'user' ? 1000 : 0}\n`.replace('/bin/bash', '/usr/bin/bash'),
      )
    else expect(line.at(-1)?.error?.evalue).toContain('neither "bash" nor "sh"')
  })

  test('files are written, found, changed and read', async () => {
    expect((await execd.call('/files/upload', upload('deep/er/text.txt', 'one two'))).status).toBe(200)
    const replaced = await execd.call('/files/replace?verbose=true', {
      method: 'POST',
      body: '{"deep/er/text.txt":{"old":"two","new":"three"}}',
    })
    expect(await replaced.json()).toEqual({ 'deep/er/text.txt': { replacedCount: 1 } })
    const found = (await (await execd.call('/files/search?path=deep&pattern=*.txt')).json()) as {
      path: string
      owner: string
    }[]
    expect(found).toMatchObject([{ owner: image === 'user' ? 'user' : image === 'static' ? '0' : 'root' }])
    expect(await (await execd.call(`/files/download?path=${found[0]?.path}`)).text()).toBe('one three')
  })

  test('metrics are those of the sandbox', async () => {
    const metrics = (await (await execd.call('/metrics')).json()) as Record<string, number>
    expect(metrics.mem_total_mib).toBe(64)
    expect(metrics.mem_used_mib).toBeGreaterThan(0)
    expect(metrics.mem_used_mib).toBeLessThan(64)
  })

  test('a session keeps its state, or says what it needs', async () => {
    const made = await execd.call('/session', { method: 'POST' })
    if (!shell) {
      expect([made.status, ((await made.json()) as { code: string }).code]).toEqual([501, 'NOT_SUPPORTED'])
      return
    }
    const { session_id: id } = (await made.json()) as { session_id: string }
    await execd.events(`/session/${id}/run`, {
      command: 'cd /tmp; word=kept; say() { echo "$word in $PWD"; }',
    })
    expect(outputOf(await execd.events(`/session/${id}/run`, { command: 'say' }))).toBe('kept in /tmp\n')
    expect((await execd.call(`/session/${id}`, { method: 'DELETE' })).status).toBe(200)
  })

  test('JavaScript runs by the Node that comes along, and a missing language is refused at once', async () => {
    const cell = await execd.events('/code', { context: { language: 'javascript' }, code: '6 * 7' })
    expect(cell.find((event) => event.type === 'result')).toMatchObject({ results: { text: '42' } })
    if (image === 'debian') return
    const refused = await execd.call('/code/context', { method: 'POST', body: '{"language":"python"}' })
    expect(refused.status).toBe(400)
    expect(((await refused.json()) as { message: string }).message).toContain('python')
  }, 60_000)
})

test('as the user of the image, a command has its groups, its HOME and its directory', async () => {
  const { sandbox, execd } = await start('user', ['sleep', '3600'])
  const events = await execd.events('/command', { command: 'id; echo $HOME; pwd' })
  expect(outputOf(events)).toBe('uid=1000(user) gid=1000(user) groups=2000(extra)\n/home/user\n/home/user\n')
  await sandbox.kill()
  await sandbox.close()
}, 120_000)

test('execd killed in a sandbox comes back, and the sandbox with what runs in it goes on', async () => {
  const { sandbox, execd } = await start('busybox', ['sleep', '3600'])
  const [init] = await execd.events('/command', {
    command: 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done',
    background: true,
  })
  const logs = async () => (await execd.call(`/command/${init?.text}/logs`)).text()
  await until(async () => (await logs()).includes('3\n'), 'the first lines')
  const killer =
    'kill -9 $(for p in /proc/[0-9]*; do case "$(tr "\\0" " " < $p/cmdline)" in *main.js*) basename $p;; esac; done | sort -n | tail -1)'
  await execd.call('/command', { method: 'POST', body: JSON.stringify({ command: killer }) }).then(
    (response) => response.text().catch(() => undefined),
    () => undefined,
  )
  const status = await until(async () => {
    const response = await execd.call(`/command/status/${init?.text}`).catch(() => undefined)
    return response?.status === 200 && ((await response.json()) as { running: boolean })
  }, 'execd to be back')
  expect(status.running).toBe(true)
  const before = await logs()
  await until(async () => (await logs()).length > before.length, 'more lines')
  const lines = (await logs()).trim().split('\n')
  expect(lines).toEqual(lines.map((_line, index) => String(index + 1)))
  expect((await execd.call(`/command?id=${init?.text}`, { method: 'DELETE' })).status).toBe(200)
  await sandbox.kill()
  await sandbox.close()
}, 120_000)

test('runs where the root cannot be written', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'read-only-'))
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
  const guest = await prepareGuestDir({
    dataDir,
    log: createSilentLogger(),
    signal: AbortSignal.timeout(60_000),
  })
  const root = join(folder, 'busybox')
  for (const dir of ['proc', 'dev', 'opt/opensandbox', 'run/opensandbox'])
    mkdirSync(join(root, dir), { recursive: true })
  const exchange = join(dataDir, 'exchange')
  mkdirSync(exchange)
  writeFileSync(
    join(exchange, 'boot.json'),
    JSON.stringify({
      token: 't',
      host: '127.0.0.1',
      port: 0,
      entrypoint: ['sleep', '3600'],
      env: { PATH: '/bin' },
      workdir: '/',
      stopGraceMs: 500,
    }),
  )
  const binds = ['--ro-bind', root, '/', '--ro-bind', guest.path, GUEST_DIR, '--bind', exchange, EXCHANGE_DIR]
  const child: ChildProcess = spawn(
    'bwrap',
    [
      ...binds,
      '--proc',
      '/proc',
      '--dev',
      '/dev',
      '--unshare-pid',
      '--as-pid-1',
      '--die-with-parent',
      '--',
      ...guest.command,
    ],
    { stdio: 'ignore', env: {} },
  )
  const exited = once(child, 'exit')
  await until(async () => existsSync(join(exchange, 'ready.json')), 'ready.json')
  const { port } = JSON.parse(readFileSync(join(exchange, 'ready.json'), 'utf8')) as { port: number }
  const call = (path: string, body: object) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers: { 'X-EXECD-ACCESS-TOKEN': 't' },
      body: JSON.stringify(body),
    })
  expect(await (await call('/command', { command: 'echo x > /file; echo still here' })).text()).toContain(
    'still here',
  )
  const refused = await call('/directories', { '/made': {} })
  expect(refused.status).toBe(500)
  expect(((await refused.json()) as { message: string }).message).toMatch(/read-only/i)
  child.kill('SIGKILL')
  await exited
})

// The JavaScript SDK as published on npm, unchanged, through the main job and every call that the server covers.

import { ConnectionConfig, Sandbox, SandboxApiException, SandboxManager } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'

const API_KEY = 'conformance-key'
let edge: Edge
let connectionConfig: ConnectionConfig
let sandbox: Sandbox

beforeAll(async () => {
  edge = await startEdge({ env: { OPENSANDBOX_SERVER_API_KEY: API_KEY } })
  connectionConfig = new ConnectionConfig({ domain: `127.0.0.1:${edge.port}`, apiKey: API_KEY })
  sandbox = await Sandbox.create({
    connectionConfig,
    image: 'host',
    timeoutSeconds: 300,
    env: { GREETING: 'hello' },
    metadata: { project: 'js' },
    resource: { cpu: '1', memory: '512Mi' },
    networkPolicy: { defaultAction: 'deny', egress: [{ action: 'allow', target: 'one.example' }] },
    credentialProxy: { enabled: true },
  })
})

afterAll(async () => {
  await sandbox?.close()
  await edge?.dispose()
})

const textOf = (lines: { text: string }[]) => lines.map(({ text }) => text.replace(/\n$/, ''))

test('getInfo() says what was asked for', async () => {
  const info = await sandbox.getInfo()
  expect(info.status.state).toBe('Running')
  expect(info.metadata).toEqual({ project: 'js' })
  expect(info.entrypoint).toEqual(['tail', '-f', '/dev/null'])
  expect(info.expiresAt?.getTime()).toBeGreaterThan(Date.now())
})

test('credentialVault: every call, and no secret in any answer', async () => {
  const vault = sandbox.credentialVault
  await expect(vault.get()).rejects.toThrow(SandboxApiException)
  await sandbox.patchEgressRules([{ action: 'allow', target: '*.vault.example' }])
  const state = await vault.create({
    credentials: [{ name: 'a/key', source: { value: 'secret-1' } }],
    bindings: [
      {
        name: 'an api',
        match: { hosts: ['api.vault.example'], schemes: ['https'], paths: ['/v1/*'] },
        auth: {
          type: 'apiKey',
          name: 'x-key',
          credential: 'a/key',
          substitutions: [{ credential: 'a/key', placeholder: '__KEY__', in: ['body'] }],
        },
      },
    ],
  })
  expect(state).toMatchObject({ revision: 1, credentials: [{ name: 'a/key', sourceType: 'inline' }] })
  expect(await vault.getCredential('a/key')).toMatchObject({ revision: 1 })
  expect(await vault.getBinding('an api')).toMatchObject({
    match: { ports: [443] },
    auth: { type: 'apiKey', name: 'X-Key' },
  })
  expect(await vault.listCredentials()).toHaveLength(1)
  expect(await vault.listBindings()).toHaveLength(1)
  const replace = [{ name: 'a/key', source: { value: 'secret-2' } }]
  expect(await vault.patch({ expectedRevision: 1, credentials: { replace } })).toMatchObject({ revision: 2 })
  await expect(vault.patch({ expectedRevision: 1 })).rejects.toMatchObject({ statusCode: 409 })
  await expect(sandbox.deleteEgressRules(['*.vault.example'])).rejects.toMatchObject({ statusCode: 400 })
  expect(JSON.stringify(await vault.get())).not.toContain('secret-')
  await vault.delete()
  await expect(vault.get()).rejects.toMatchObject({ statusCode: 404 })
  await sandbox.deleteEgressRules(['*.vault.example'])
})

test('isHealthy()', async () => {
  expect(await sandbox.isHealthy()).toBe(true)
})

test('commands.run() gives output, exit code and environment', async () => {
  const done = await sandbox.commands.run('echo "$GREETING $X"; pwd; echo err >&2', {
    workingDirectory: '/tmp',
    envs: { X: 'y' },
  })
  expect(textOf(done.logs.stdout)).toEqual(['hello y', '/tmp'])
  expect(textOf(done.logs.stderr)).toEqual(['err'])
  expect(done.exitCode).toBe(0)
  expect((await sandbox.commands.run('exit 9')).exitCode).toBe(9)
})

test('commands.run() as another user', async () => {
  expect(textOf((await sandbox.commands.run('id -u', { uid: 1000 })).logs.stdout)).toEqual(['1000'])
})

test('commands.run() streams through handlers as lines come', async () => {
  const times: number[] = []
  await sandbox.commands.run('echo a; sleep 1; echo b', undefined, {
    onStdout: () => {
      times.push(performance.now())
    },
  })
  expect(times).toHaveLength(2)
  expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(600)
})

test('commands.run() ends at its timeout', async () => {
  const done = await sandbox.commands.run('sleep 30', { timeoutSeconds: 1 })
  expect(done.error).toBeDefined()
})

test('background commands have a status, logs and an interrupt', async () => {
  const { id } = await sandbox.commands.run('echo started; exec sleep 60', { background: true })
  expect(id).toMatch(/^[0-9a-f]{32}$/)
  const status = await sandbox.commands.getCommandStatus(id ?? '')
  expect(status.running).toBe(true)
  await expect
    .poll(async () => (await sandbox.commands.getBackgroundCommandLogs(id ?? '')).content)
    .toBe('started\n')
  await sandbox.commands.interrupt(id ?? '')
  await expect.poll(async () => (await sandbox.commands.getCommandStatus(id ?? '')).running).toBe(false)
})

test('files are written, read, listed, found, changed, moved and removed', async () => {
  const { files } = sandbox
  await files.createDirectories([{ path: '/tmp/js', mode: 755 }])
  const binary = new Uint8Array(70_000).map((_, index) => index % 251)
  await files.writeFiles([
    { path: '/tmp/js/a.txt', data: 'alpha\nbeta\n', mode: 644 },
    { path: '/tmp/js/b.bin', data: binary, mode: 600 },
  ])
  expect(await files.readFile('/tmp/js/a.txt')).toBe('alpha\nbeta\n')
  expect(await files.readBytes('/tmp/js/b.bin')).toEqual(binary)
  expect(await files.readFile('/tmp/js/a.txt', { range: 'bytes=0-4' })).toBe('alpha')
  expect((await files.listDirectory({ path: '/tmp/js' })).map(({ path }) => path).sort()).toEqual([
    '/tmp/js/a.txt',
    '/tmp/js/b.bin',
  ])
  expect((await files.search({ path: '/tmp/js', pattern: '*.txt' })).map(({ path }) => path)).toEqual([
    '/tmp/js/a.txt',
  ])
  await files.replaceContents([{ path: '/tmp/js/a.txt', oldContent: 'beta', newContent: 'gamma' }])
  await files.setPermissions([{ path: '/tmp/js/a.txt', mode: 600 }])
  await files.moveFiles([{ src: '/tmp/js/a.txt', dest: '/tmp/js/c.txt' }])
  const info = (await files.getFileInfo(['/tmp/js/c.txt']))['/tmp/js/c.txt']
  expect(info?.size).toBe('alpha\ngamma\n'.length)
  expect(info?.mode).toBe(600)
  await files.deleteFiles(['/tmp/js/c.txt'])
  await expect(files.readFile('/tmp/js/c.txt')).rejects.toThrow(SandboxApiException)
  await files.deleteDirectories(['/tmp/js'])
})

test('readFile() gives some lines of a file', async () => {
  await sandbox.files.writeFiles([{ path: '/tmp/lines', data: 'one\r\ntwo\nthree', mode: 644 }])
  expect(await sandbox.files.readFile('/tmp/lines', { offset: 1, limit: 2 })).toBe('one\ntwo')
})

test('a session keeps its state, tells an exit code, ends at its timeout, and is deleted once', async () => {
  const { commands } = sandbox
  const session = await commands.createSession({ workingDirectory: '/tmp' })
  await commands.runInSession(session, 'word="a \'b\'"; say() { echo "$word in $PWD"; }')
  const said = await commands.runInSession(session, 'say; echo err >&2; (exit 5)')
  expect([textOf(said.logs.stdout), textOf(said.logs.stderr), said.exitCode]).toEqual([
    ["a 'b' in /tmp"],
    ['err'],
    5,
  ])
  const late = await commands.runInSession(session, 'sleep 60', { timeoutSeconds: 1 })
  expect(late.error?.name).toBe('CommandExecError')
  expect(textOf((await commands.runInSession(session, 'say')).logs.stdout)).toEqual(["a 'b' in /tmp"])
  await commands.deleteSession(session)
  await expect(commands.deleteSession(session)).rejects.toThrow(SandboxApiException)
})

test('getMetrics() tells what the sandbox may use', async () => {
  const metrics = await sandbox.getMetrics()
  expect(metrics).toMatchObject({ cpuCount: 1, memoryTotalMiB: 512 })
  expect(metrics.memoryUsedMiB).toBeLessThanOrEqual(512)
})

test('readBytesStream() gives a large file in pieces', async () => {
  await sandbox.commands.run('head -c 5000000 /dev/zero > /tmp/big')
  let size = 0
  for await (const chunk of sandbox.files.readBytesStream('/tmp/big')) size += chunk.length
  expect(size).toBe(5_000_000)
})

test('getEndpointUrl() leads to a server in the sandbox', async () => {
  await sandbox.commands.run('cd /tmp && echo js > page.txt && python3 -m http.server 8001 >/dev/null 2>&1 &')
  const url = await sandbox.getEndpointUrl(8001)
  await expect.poll(async () => (await fetch(`${url}/page.txt`)).text()).toBe('js\n')
})

test('the egress policy is read and changed while the sandbox runs', async () => {
  expect((await sandbox.getEgressPolicy()).egress).toEqual([{ action: 'allow', target: 'one.example' }])
  await sandbox.patchEgressRules([{ action: 'allow', target: '*.two.example' }])
  await sandbox.deleteEgressRules(['one.example'])
  expect((await sandbox.getEgressPolicy()).egress).toEqual([{ action: 'allow', target: '*.two.example' }])
})

test('patchMetadata(), renew(), pause() and resume()', async () => {
  expect((await sandbox.patchMetadata({ project: null, stage: 'two' })).metadata).toEqual({ stage: 'two' })
  const renewed = await sandbox.renew(1200)
  expect((renewed.expiresAt?.getTime() ?? 0) - Date.now()).toBeGreaterThan(1_100_000)
  await sandbox.pause()
  expect((await sandbox.getInfo()).status.state).toBe('Paused')
  const resumed = await sandbox.resume()
  // It shares its connections with the one that was paused: closing one closes both.
  expect((await resumed.commands.run('true')).exitCode).toBe(0)
})

test('a manager lists by state', async () => {
  const manager = SandboxManager.create({ connectionConfig })
  const page = await manager.listSandboxInfos({ states: ['Running'], pageSize: 10 })
  expect(page.items.map(({ id }) => id)).toContain(sandbox.id)
  await manager.close()
})

test('the server proxy carries commands too', async () => {
  const proxied = await Sandbox.connect({
    connectionConfig: new ConnectionConfig({
      domain: `127.0.0.1:${edge.port}`,
      apiKey: API_KEY,
      useServerProxy: true,
    }),
    sandboxId: sandbox.id,
  })
  expect(textOf((await proxied.commands.run('echo through')).logs.stdout)).toEqual(['through'])
  await proxied.close()
})

test('a wrong API key is refused with its code', async () => {
  const manager = SandboxManager.create({
    connectionConfig: new ConnectionConfig({ domain: `127.0.0.1:${edge.port}`, apiKey: 'wrong' }),
  })
  await expect(manager.listSandboxInfos({})).rejects.toMatchObject({
    statusCode: 401,
    error: { code: 'INVALID_API_KEY' },
  })
  await manager.close()
})

test('kill() ends the sandbox', async () => {
  await sandbox.kill()
  await expect(sandbox.getInfo()).rejects.toMatchObject({ statusCode: 404 })
})

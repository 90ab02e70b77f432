// Every way in which an image comes to this machine: tarball, OCI archive, `docker save` archive, registry.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, freePort, startEdge } from '../support/edge.ts'
import { debianTarball } from '../support/images.ts'
import { createSandbox, run } from '../support/sandbox.ts'

let edge: Edge
let folder: string
let registry: ChildProcess
let registryPort: number

beforeAll(async () => {
  const tarball = debianTarball()
  folder = mkdtempSync(join(tmpdir(), 'images-'))
  const tool = (program: string, ...args: string[]) =>
    execFileSync(program, args, { stdio: 'pipe', cwd: folder, timeout: 120_000 })
  tool('umoci', 'init', '--layout', 'layout')
  tool('umoci', 'new', '--image', 'layout:test')
  tool('umoci', 'raw', 'add-layer', '--image', 'layout:test', tarball)
  tool(
    'umoci',
    'config',
    '--image',
    'layout:test',
    '--config.env',
    'FROM_IMAGE=yes',
    '--config.workingdir',
    '/srv',
    '--config.user',
    '1000:1000',
  )
  tool('skopeo', 'copy', '--quiet', '--insecure-policy', 'oci:layout:test', 'oci-archive:oci.tar')
  tool(
    'skopeo',
    'copy',
    '--quiet',
    '--insecure-policy',
    'oci:layout:test',
    'docker-archive:docker.tar:test:latest',
  )

  registryPort = await freePort()
  writeFileSync(
    join(folder, 'registry.yml'),
    `version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ${folder}/registry\nhttp:\n  addr: 127.0.0.1:${registryPort}\n`,
  )
  registry = spawn('docker-registry', ['serve', join(folder, 'registry.yml')], { stdio: 'ignore' })
  tool(
    'curl',
    '-sf',
    '--retry',
    '20',
    '--retry-connrefused',
    '--retry-max-time',
    '20',
    `http://127.0.0.1:${registryPort}/v2/`,
  )
  tool(
    'skopeo',
    'copy',
    '--quiet',
    '--insecure-policy',
    '--dest-tls-verify=false',
    'oci:layout:test',
    `docker://127.0.0.1:${registryPort}/team/test:1.0`,
  )

  edge = await startEdge({
    config: `[runtime]
insecure_registries = ["127.0.0.1:${registryPort}"]
[runtime.images]
tarball = "${tarball}"
oci = "${folder}/oci.tar"
docker = "${folder}/docker.tar"
layout = "${folder}/layout"
broken = "${folder}/registry.yml"
gone = "${folder}/gone.tar"
short = "127.0.0.1:${registryPort}/team/test:1.0"
`,
  })
}, 300_000)

afterAll(async () => {
  await edge?.dispose()
  registry?.kill()
  if (folder) rmSync(folder, { recursive: true, force: true })
}, 120_000)

const reference = (name: string) => name.replace('{registry}', `127.0.0.1:${registryPort}`)

test.each(['oci', 'docker', 'layout', '{registry}/team/test:1.0', 'short'])(
  'image "%s" runs with its environment, directory and user',
  async (name) => {
    const sandbox = await createSandbox(edge, { image: reference(name), readyTimeoutSeconds: 120 })
    const done = await run(
      sandbox,
      'echo $FROM_IMAGE; pwd; id -u; python3 -c "print(6 * 7)"; . /etc/os-release; echo $ID',
    )
    expect(done.stdout).toBe('yes\n/srv\n1000\n42\ndebian')
    await sandbox.kill()
    await sandbox.close()
  },
  180_000,
)

test('a root file system tarball runs, and its root can install files everywhere', async () => {
  const sandbox = await createSandbox(edge, { image: 'tarball' })
  const done = await run(
    sandbox,
    'touch /usr/bin/mine /etc/mine /mine && id -u && stat -c %U /usr/bin/python3 && stat -c %a /tmp',
  )
  expect(done.stdout).toBe('0\nroot\n1777')
  await sandbox.kill()
  await sandbox.close()
}, 120_000)

test('what one sandbox writes, another of the same image does not see', async () => {
  const [first, second] = await Promise.all([
    createSandbox(edge, { image: 'tarball' }),
    createSandbox(edge, { image: 'tarball' }),
  ])
  await run(first, 'rm -rf /usr/share && echo changed > /etc/issue')
  expect((await run(second, 'cat /etc/issue; ls -d /usr/share')).stdout).toMatch(
    /^Debian[\s\S]*\/usr\/share$/,
  )
  for (const sandbox of [first, second]) {
    await sandbox.kill()
    await sandbox.close()
  }
}, 120_000)

test.each(['--help', '/etc/passwd', 'a b', 'UPPER/case:tag:tag'])(
  '"%s" is no reference of an image',
  async (uri) => {
    const response = await fetch(`${edge.url}/v1/sandboxes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        image: { uri },
        entrypoint: ['true'],
        resourceLimits: { cpu: '1', memory: '64Mi' },
      }),
    })
    expect(response.status).toBeGreaterThanOrEqual(400)
    expect(response.status).toBeLessThan(500)
    expect(((await response.json()) as { message: string }).message).toContain('image')
  },
)

test.each([
  ['{registry}/team/none:1.0', /none/],
  ['broken', /broken/],
  ['gone', /gone\.tar.*ENOENT/],
  ['docker-archive:/etc/passwd', /no image/],
])('image "%s" is refused with its name', async (name, message) => {
  const response = await fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      image: { uri: reference(name) },
      entrypoint: ['true'],
      resourceLimits: { cpu: '1', memory: '64Mi' },
    }),
  })
  const body = (await response.json()) as { code: string; message: string }
  expect(body.code).toBe('DOCKER::SANDBOX_IMAGE_PULL_FAILED')
  expect(body.message).toMatch(message)
})

test('operators see what lies here, fetch more, and remove what nothing needs', async () => {
  const ask = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${edge.url}/v1/admin/images${path}`, {
      method,
      ...(body !== undefined && {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    })
    const text = await response.text()
    return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> }
  }
  const uri = reference('{registry}/team/test:1.0')
  const pulled = await ask('POST', '', { image: { uri } })
  expect([pulled.status, pulled.body]).toMatchObject([201, { references: [uri], users: 0, shared: true }])
  expect((await ask('GET', '')).body.items).toContainEqual(pulled.body)
  const sandbox = await createSandbox(edge, { image: uri })
  const facts = await fetch(`${edge.url}/v1/sandboxes/${sandbox.id}/diagnostics/inspect`)
  expect(await facts.text()).toContain(`image digest: ${pulled.body.digest}`)
  expect((await ask('DELETE', `/${pulled.body.id}`)).status).toBe(409)
  expect((await ask('POST', '/gc', { maxAgeHours: 0, maxBytes: 0 })).body.removed).not.toContainEqual(
    expect.objectContaining({ id: pulled.body.id }),
  )
  await sandbox.kill()
  await sandbox.close()
  expect((await ask('DELETE', `/${pulled.body.id}`)).status).toBe(204)
  expect((await ask('DELETE', `/${pulled.body.id}`)).status).toBe(404)
}, 120_000)

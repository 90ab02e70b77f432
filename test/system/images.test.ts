// Images of a whole distribution in the running product, from a registry and from a tarball. The ways in which an image comes, each by a
// small one, are in test/contract/runtime-images.test.ts.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { debianTarball, ociLayout } from '../support/images.ts'
import { type RealRegistry, startRegistry } from '../support/real-registry.ts'
import { createSandbox, run } from '../support/sandbox.ts'

let edge: Edge
let folder: string
let registry: RealRegistry
/** A Debian in the registry, which says who runs it, where and with what. */
let pushed: string

beforeAll(async () => {
  const tarball = debianTarball()
  folder = mkdtempSync(join(tmpdir(), 'images-'))
  const config = [
    '--config.env',
    'FROM_IMAGE=yes',
    '--config.workingdir',
    '/srv',
    '--config.user',
    '1000:1000',
  ]
  const layout = ociLayout(folder, 'layout', tarball, config)
  registry = await startRegistry()
  pushed = registry.push(`${layout}:test`, 'team/test:1.0')
  edge = await startEdge({
    config: `[runtime]
insecure_registries = ["${registry.host}"]
[runtime.images]
tarball = "${tarball}"
gone = "${folder}/gone.tar"
short = "${pushed}"
`,
  })
}, 300_000)

afterAll(async () => {
  await edge?.dispose()
  registry?.dispose()
  if (folder) rmSync(folder, { recursive: true, force: true })
}, 120_000)

test('an image of a registry runs with its environment, directory and user, by a name of the configuration too', async () => {
  for (const image of [pushed, 'short']) {
    const sandbox = await createSandbox(edge, { image, readyTimeoutSeconds: 120 })
    const done = await run(
      sandbox,
      'echo $FROM_IMAGE; pwd; id -u; python3 -c "print(6 * 7)"; . /etc/os-release; echo $ID',
    )
    expect(done.stdout, image).toBe('yes\n/srv\n1000\n42\ndebian')
    await sandbox.kill()
    await sandbox.close()
  }
}, 180_000)

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
  // Why, and not where it would lie.
  ['gone', /^(?!.*gone\.tar).*"gone".*ENOENT/],
  ['docker-archive:/etc/passwd', /no image/],
])('image "%s" is refused with its name', async (name, message) => {
  const response = await fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      image: { uri: name.replace('{registry}', registry.host) },
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
  const pulled = await ask('POST', '', { image: { uri: pushed } })
  expect([pulled.status, pulled.body]).toMatchObject([201, { references: [pushed], users: 0, shared: true }])
  expect((await ask('GET', '')).body.items).toContainEqual(pulled.body)
  const sandbox = await createSandbox(edge, { image: pushed })
  const facts = await fetch(`${edge.url}/v1/sandboxes/${sandbox.id}/diagnostics/inspect`)
  expect(await facts.text()).toContain(`image digest: ${pulled.body.digest}`)
  expect((await ask('DELETE', `/${pulled.body.id}`)).status).toBe(409)
  expect((await ask('POST', '-gc', { maxAgeHours: 0, maxBytes: 0 })).body.removed).not.toContainEqual(
    expect.objectContaining({ id: pulled.body.id }),
  )
  await sandbox.kill()
  await sandbox.close()
  expect((await ask('DELETE', `/${pulled.body.id}`)).status).toBe(204)
  expect((await ask('DELETE', `/${pulled.body.id}`)).status).toBe(404)
}, 120_000)

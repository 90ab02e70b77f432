// SIGHUP, as an operator or a service manager sends it: the configuration counts anew, without an end of anything.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'

// Programs are started and signalled in one test, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000 })

const SECRETS = ['key-of-operator', 'key-of-ci', 'key-of-red', 'key-of-blue']
const OPERATOR = '[server]\napi_key = "key-of-operator"\n'

async function start(config: string, env: Record<string, string> = {}): Promise<Edge> {
  const edge = await startEdge({ config, env })
  onTestFinished(edge.dispose)
  return edge
}

async function statusOf({ url }: Edge, key?: string): Promise<number> {
  const headers: HeadersInit = key === undefined ? {} : { 'open-sandbox-api-key': key }
  return (await fetch(`${url}/v1/sandboxes`, { headers })).status
}

/** Writes a configuration, has it read again, and resolves with what control says about that. */
async function reload(edge: Edge, config: string, expected: RegExp): Promise<string> {
  writeFileSync(edge.configFile, config)
  process.kill(edge.launcherPid, 'SIGHUP')
  return (await edge.waitForOutput(expected)).input
}

test('SIGHUP without a terminal: keys, quotas and the log level count at once, the rest is named, a broken file changes nothing', async () => {
  const edge = await start(OPERATOR)
  expect([await statusOf(edge), await statusOf(edge, 'key-of-operator')]).toEqual([401, 200])
  expect(edge.output()).not.toContain(' debug control ')

  const more = `${OPERATOR}[[auth.keys]]\nname = "ci"\nkey = "key-of-ci"\n[quotas.default]\nsandboxes = 0\n[log]\nlevel = "debug"\n[runtime]\npids_limit = 512\n[egress]\ndefault_action = "deny"\n`
  await reload(
    edge,
    more,
    /info control the configuration was read again changed="auth\.keys\.ci, log\.level, quotas\.default" needsRestart=runtime\.pids_limit/,
  )
  await edge.waitForOutput(/ egress what the operator says of all sandboxes was changed defaultAction=deny/)
  expect(await statusOf(edge, 'key-of-ci')).toBe(200)
  await edge.waitForOutput(/ debug control request /)
  await edge.waitForOutput(/ debug gateway request /)
  const create = await fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'open-sandbox-api-key': 'key-of-ci' },
    body: JSON.stringify({ image: { uri: 'host' }, entrypoint: ['true'], resourceLimits: {} }),
  })
  expect([create.status, await create.text()]).toEqual([403, expect.stringContaining('QUOTA_EXCEEDED')])

  await reload(
    edge,
    `${more}[sever]\n`,
    /error control the configuration cannot be read again: .*the nearest is/,
  )
  expect(await statusOf(edge, 'key-of-ci')).toBe(200)

  await reload(edge, OPERATOR, /read again changed="auth\.keys\.ci, log\.level, quotas\.default"\n/)
  expect([await statusOf(edge, 'key-of-ci'), await statusOf(edge, 'key-of-operator')]).toEqual([401, 200])

  // The last key is gone, and the API with it: what opens it to this machine again is a start.
  await reload(
    edge,
    '',
    /changed=server\.api_key\n[\s\S]*warn control no API key opens this server any more|warn control no API key opens this server any more[^\n]*\n[\s\S]*changed=server\.api_key\n/,
  )
  expect([await statusOf(edge), await statusOf(edge, 'key-of-operator')]).toEqual([401, 401])
  for (const secret of SECRETS) expect(edge.output()).not.toContain(secret)
})

test('a set of targets that is added alone can be named by a create at once', async () => {
  const edge = await start('')
  const create = async () => {
    const answer = await fetch(`${edge.url}/v1/sandboxes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        image: { uri: 'host' },
        entrypoint: ['sleep', 'infinity'],
        resourceLimits: {},
        networkPolicy: { defaultAction: 'deny', egress: [{ action: 'allow', target: 'set:ours' }] },
      }),
    })
    return [answer.status, await answer.text()]
  }
  expect(await create()).toEqual([400, expect.stringContaining('must name a set that there is')])
  const config = '[egress.rule_sets]\nours = ["ours.example"]\n'
  await reload(edge, config, /info control the configuration was read again changed=egress\.rule_sets\n/)
  await edge.waitForOutput(/ egress what the operator says of all sandboxes was changed /)
  expect(await create()).toEqual([202, expect.any(String)])
})

test('a server without a key is closed by the first one that is read, for the gateway too', async () => {
  const edge = await start('')
  const origin = 'https://console.example'
  const preflight = async () =>
    (
      await fetch(`${edge.url}/v1/sandboxes`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'GET' },
      })
    ).status
  expect([await statusOf(edge), await preflight()]).toEqual([200, 403])
  await reload(edge, OPERATOR, /read again changed=server\.api_key/)
  expect([await statusOf(edge), await statusOf(edge, 'key-of-operator')]).toEqual([401, 200])
  await expect.poll(preflight).toBe(200)
})

test('tenants of a file: each sees its own, a change counts by itself, and the provider can be changed by a signal', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenants-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'tenants.toml')
  const tenant = (name: string) =>
    `[[tenants]]\nname = "${name}"\nnamespace = "${name}"\napi_keys = ["key-of-${name}"]\n`
  writeFileSync(file, tenant('red'))
  const config = '[tenants]\nprovider = "file"\n'
  const edge = await start(config, { SANDBOX_TENANTS_CONFIG_PATH: file })
  expect([
    await statusOf(edge),
    await statusOf(edge, 'key-of-red'),
    await statusOf(edge, 'key-of-blue'),
  ]).toEqual([401, 200, 401])
  writeFileSync(file, tenant('red') + tenant('blue'))
  await expect.poll(() => statusOf(edge, 'key-of-blue'), { interval: 100 }).toBe(200)
  await edge.waitForOutput(/the file of tenants was read again/)

  const made = await fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'open-sandbox-api-key': 'key-of-red' },
    body: JSON.stringify({
      image: { uri: 'host' },
      entrypoint: ['python3', '-m', 'http.server', '8000'],
      resourceLimits: {},
    }),
  })
  expect(made.status, await made.clone().text()).toBe(202)
  const { id } = (await made.json()) as { id: string }
  const through = async (key: string | undefined, path: string) => {
    const headers: HeadersInit = key === undefined ? {} : { 'open-sandbox-api-key': key }
    return (await fetch(`${edge.url}/v1/sandboxes/${id}${path}`, { headers })).status
  }
  expect([await through('key-of-red', ''), await through('key-of-blue', '')]).toEqual([200, 404])
  // execd answers on its port as soon as the sandbox runs.
  expect([
    await through(undefined, '/proxy/44772/ping'),
    await through('key-of-blue', '/proxy/44772/ping'),
  ]).toEqual([401, 404])
  expect([401, 404]).not.toContain(await through('key-of-red', '/proxy/8000/'))

  await reload(edge, OPERATOR, /changed="server\.api_key, tenants\.provider"/)
  expect([await statusOf(edge, 'key-of-blue'), await statusOf(edge, 'key-of-operator')]).toEqual([401, 200])
  rmSync(file)
  await reload(edge, config, /error control the configuration cannot be read again: .*there is no such file/)
  expect(await statusOf(edge, 'key-of-operator')).toBe(200)
  // With it, whoever cleans up after this test can start.
  writeFileSync(file, tenant('red'))
})

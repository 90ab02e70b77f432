import { X509Certificate } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import { createAdminApp } from '../../../egress/app.ts'
import { makeAuthority } from '../../../egress/interception/authority.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { BASE, createFakeKernel } from '../fake-kernel.ts'

const network = { subnet: BASE.subnet, gateway: BASE.gateway, interfacePrefix: BASE.interfacePrefix }
const GOOD = { address: '10.88.0.5', interface: 'osbab12aabbccdd', token: 'a-token-of-a-guest-1' }

function setup() {
  const kernel = createFakeKernel()
  const sandboxes = kernel.open()
  const calls = { registered: 0, removed: [] as string[] }
  const gone: string[] = []
  const authorities = {
    authorityOf: (id: string) => makeAuthority(id, 0),
    remove: (id: string) => void gone.push(id),
  }
  const app = createAdminApp({
    network,
    sandboxes,
    authorities,
    vaults: kernel.vaults,
    log: createSilentLogger(),
    onRegistered: () => {
      calls.registered++
    },
    onRemoved: (name) => void calls.removed.push(name),
  })
  const ask = (method: string, path: string, body?: unknown) =>
    app.request(path, {
      method,
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
  return { ...kernel, sandboxes, ask, calls, gone }
}

test('says what the network is, and that it lives', async () => {
  const { ask } = setup()
  expect(await (await ask('GET', '/network')).json()).toEqual(network)
  expect(await (await ask('GET', '/healthz')).text()).toBe('ok')
})

test('registers, lists without secrets, and removes, each as often as asked', async () => {
  const { ask, calls, files } = setup()
  for (let round = 0; round < 2; round++) expect((await ask('PUT', '/sandboxes/a', GOOD)).status).toBe(204)
  expect(calls.registered).toBe(2)
  expect(await (await ask('GET', '/sandboxes')).json()).toEqual({
    sandboxes: [{ id: 'a', address: GOOD.address, interface: GOOD.interface }],
  })
  for (let round = 0; round < 2; round++) expect((await ask('DELETE', '/sandboxes/a')).status).toBe(204)
  expect(files.size).toBe(0)
  expect(calls.removed).toEqual([GOOD.interface])
})

test('says which interface a sandbox has left, when it is registered with another', async () => {
  const { ask, calls } = setup()
  await ask('PUT', '/sandboxes/a', GOOD)
  await ask('PUT', '/sandboxes/a', { ...GOOD, interface: 'osbab12other' })
  expect(calls).toEqual({ registered: 2, removed: [GOOD.interface] })
})

describe('refuses a registration', () => {
  test.each([
    ['{', 'The body must be JSON'],
    ['[]', 'the body'],
    [{ ...GOOD, address: '10.89.0.5' }, 'address must be a free one of 10.88.0.0/16'],
    [{ ...GOOD, address: '10.88.0.0' }, 'address must be'],
    [{ ...GOOD, address: '10.88.0.1' }, 'address must be'],
    [{ ...GOOD, address: '10.88.255.255' }, 'address must be'],
    [{ ...GOOD, address: '10.88.0.5; flush ruleset' }, 'address must be an IPv4 address'],
    [{ ...GOOD, address: 5 }, 'address'],
    [{ ...GOOD, interface: 'eth0' }, 'interface must be "osbab12" and 1 to 8 more'],
    // The gateway's own interface is the prefix alone.
    [{ ...GOOD, interface: 'osbab12' }, 'interface must be'],
    [{ ...GOOD, interface: 'osbab12"; ' }, 'interface must be'],
    [{ ...GOOD, interface: 'osbab12*' }, 'interface must be'],
    [{ ...GOOD, interface: 'osbab12123456789' }, 'interface'],
    [{ ...GOOD, token: '' }, 'token'],
    [{ ...GOOD, policy: { egress: [{ target: 'a b' }] } }, 'policy egress[0].target'],
    [{ ...GOOD, policy: 'deny' }, 'policy'],
  ])('%j', async (body, message) => {
    const { ask, scripts } = setup()
    const response = await ask('PUT', '/sandboxes/a', body)
    expect(response.status).toBe(400)
    expect(((await response.json()) as { message: string }).message).toContain(message)
    expect(scripts).toEqual([])
  })

  test.each(['A', 'a.b', 'a_b', 'a%2fb', 'a%20b', 'a'.repeat(64)])('of the id %j', async (id) => {
    const { ask } = setup()
    expect((await ask('PUT', `/sandboxes/${id}`, GOOD)).status).toBe(400)
    expect((await ask('DELETE', `/sandboxes/${id}`)).status).toBe(400)
  })

  test('of more bytes than it takes', async () => {
    const { ask } = setup()
    expect((await ask('PUT', '/sandboxes/a', ' '.repeat(1024 * 1024 + 1))).status).toBe(413)
  })
})

test('a policy of null is none', async () => {
  const { ask, files } = setup()
  expect((await ask('PUT', '/sandboxes/a', { ...GOOD, policy: null })).status).toBe(204)
  expect(files.get('a')).not.toHaveProperty('policy')
})

test('what does not exist is a 404 in JSON', async () => {
  const { ask } = setup()
  for (const path of ['/', '/sandboxes/a/policy', '/sandboxes/a/b']) {
    const response = await ask('GET', path)
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ code: 'NOT_FOUND' })
  }
})

test('tells whom a sandbox is to trust before it is there, and forgets all of it with the sandbox', async () => {
  const { ask, gone, vaults } = setup()
  const { certificate } = (await (await ask('PUT', '/sandboxes/a/authority')).json()) as {
    certificate: string
  }
  expect(new X509Certificate(certificate).ca).toBe(true)
  expect(certificate).not.toContain('PRIVATE')
  const forgotten = vi.spyOn(vaults, 'forget')
  expect((await ask('DELETE', '/sandboxes/a')).status).toBe(204)
  expect(gone).toEqual(['a'])
  expect(forgotten).toHaveBeenCalledWith('a')
})

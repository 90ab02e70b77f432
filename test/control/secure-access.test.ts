// Sandboxes that are closed to all but who may: their token, their signed endpoints, the links to them.

import { describe, expect, onTestFinished, test } from 'vitest'
import { RoutesFeed } from '../../control/routes-feed.ts'
import { hashKey } from '../../lib/access.ts'
import { parseShareToken } from '../../lib/share-link.ts'
import { formatExpires, type SigningKeys, signRoute } from '../../lib/signature.ts'
import { type ControlApp, type ControlAppOptions, createControlApp, MINIMAL } from '../support/control-app.ts'

const NOW = Date.UTC(2026, 0, 1)
const KEYS: SigningKeys = new Map([
  ['a', Buffer.from('old')],
  ['b', Buffer.from('new')],
])
const SIGNING = { activeKey: 'b', keys: KEYS }

function open(options: ControlAppOptions = {}): ControlApp & { feed: RoutesFeed } {
  const control = createControlApp({ now: () => NOW, ...options })
  const feed = new RoutesFeed({ store: control.store, policySocket: '/p', wake: 'idle' })
  onTestFinished(async () => {
    feed[Symbol.dispose]()
    await control.close()
  })
  return { ...control, feed }
}

async function make({ call }: ControlApp, more: Record<string, unknown> = {}, headers = {}): Promise<string> {
  const made = await call('POST', '/sandboxes', { ...MINIMAL, ...more }, headers)
  expect([made.status, made.text]).toEqual([202, expect.any(String)])
  return String(made.body.id)
}

describe('the token', () => {
  test('S16: a sandbox with secureAccess gets one on this runtime, and every endpoint has it', async () => {
    const control = open()
    const id = await make(control, { secureAccess: true })
    const endpoint = async (port: number) =>
      (await control.call('GET', `/sandboxes/${id}/endpoints/${port}`)).body.headers as Record<string, string>
    const token = (await endpoint(80))['OpenSandbox-Secure-Access']
    expect(token).toMatch(/^[\w-]{32}$/)
    expect(await endpoint(44772)).toEqual({
      'OpenSandbox-Secure-Access': token,
      'X-EXECD-ACCESS-TOKEN': control.store.get(id)?.execdToken,
    })
    expect(await endpoint(18080)).toEqual({
      'OpenSandbox-Secure-Access': token,
      'OPENSANDBOX-EGRESS-AUTH': control.store.get(id)?.egressToken,
    })
    expect(control.feed.get(id)).toMatchObject({ accessHash: hashKey(String(token)), shares: [] })
    expect(JSON.stringify(control.feed.get(id))).not.toContain(token)
    expect((await control.call('GET', `/sandboxes/${id}`)).text).not.toContain(token)
  })

  test('G5: one without it has none', async () => {
    const control = open()
    const id = await make(control, { secureAccess: false })
    expect((await control.call('GET', `/sandboxes/${id}/endpoints/80`)).body).not.toHaveProperty('headers')
    expect(control.feed.get(id)).not.toHaveProperty('accessHash')
  })

  test('a key that only reads gets neither the token nor a signed endpoint', async () => {
    const keys = [{ name: 'r', hash: hashKey('reader'), role: 'read-only' as const }]
    const control = open({ access: { apiKey: 'k', keys, signing: SIGNING } })
    const id = await make(control, { secureAccess: true }, { 'open-sandbox-api-key': 'k' })
    const ask = (query: string) =>
      control.call('GET', `/sandboxes/${id}/endpoints/80${query}`, undefined, {
        'open-sandbox-api-key': 'reader',
      })
    expect((await ask('')).body).not.toHaveProperty('headers')
    expect((await ask(`?expires=${NOW / 1000 + 60}`)).status).toBe(403)
  })
})

describe('signed endpoints', () => {
  const END = BigInt(NOW / 1000 + 3600)
  const expires = formatExpires(END)

  test.each([
    ['no gateway', {}, 'localhost:8080/{id}/80/{exp}/{sig}', undefined],
    ['a domain', { domain: 'box.example' }, '{id}-80-{exp}-{sig}.box.example:8080', undefined],
    [
      'wildcard',
      { gateway: { address: '*.gw.example:9', route: 'wildcard' as const } },
      '{id}-80-{exp}-{sig}.gw.example:9',
      undefined,
    ],
    [
      'header',
      { gateway: { address: 'gw.example:9', route: 'header' as const } },
      'gw.example:9',
      '{id}-80-{exp}-{sig}',
    ],
    [
      'uri',
      { gateway: { address: 'gw.example/base', route: 'uri' as const } },
      'gw.example/base/{id}/80/{exp}/{sig}',
      undefined,
    ],
  ])('by %s', async (_, settings, endpoint, header) => {
    const control = open({ settings, access: { signing: SIGNING } })
    const id = await make(control, { secureAccess: true })
    const signature = signRoute(KEYS, 'b', { id, port: 80, expires })
    const fill = (text: string) =>
      text.replace('{id}', id).replace('{exp}', expires).replace('{sig}', signature)
    const answer = await control.call('GET', `/sandboxes/${id}/endpoints/80?expires=${END}`)
    expect(answer.body).toEqual({
      endpoint: fill(endpoint),
      ...(header && { headers: { 'OpenSandbox-Ingress-To': fill(header) } }),
    })
  })

  test.each([
    ['wildcard', { address: '*.gw.example:9', route: 'wildcard' as const }, '{id}-80.gw.example:9', {}],
    [
      'header',
      { address: 'gw.example', route: 'header' as const },
      'gw.example',
      { 'OpenSandbox-Ingress-To': '{id}-80' },
    ],
    ['uri', { address: 'gw.example/', route: 'uri' as const }, 'gw.example/{id}/80', {}],
  ])('unsigned by %s, with the token beside it', async (_, gateway, endpoint, headers) => {
    const control = open({ settings: { gateway } })
    const id = await make(control, { secureAccess: true })
    const answer = await control.call('GET', `/sandboxes/${id}/endpoints/80`)
    expect(JSON.parse(JSON.stringify(answer.body).replaceAll(id, '{id}'))).toEqual({
      endpoint,
      headers: { ...headers, 'OpenSandbox-Secure-Access': control.store.get(id)?.accessToken },
    })
    const served = await control.call('GET', `/v1/sandboxes/${id}/endpoints/80?use_server_proxy=true`)
    expect(served.body.endpoint).toBe(`localhost:8080/v1/sandboxes/${id}/proxy/80`)
    expect(served.body.headers).not.toHaveProperty('OpenSandbox-Ingress-To')
  })

  test('that of the policy goes on asking for its own token', async () => {
    const control = open({ access: { signing: SIGNING } })
    const id = await make(control, { secureAccess: true })
    const { body } = await control.call('GET', `/sandboxes/${id}/endpoints/18080?expires=${END}`)
    expect(body.headers).toEqual({ 'OPENSANDBOX-EGRESS-AUTH': control.store.get(id)?.egressToken })
  })

  test.each([
    [String(2n ** 64n - 1n), 200],
    [String(2n ** 64n), 400],
    ['9'.repeat(40), 400],
    [String(NOW / 1000 + 1), 200],
    [String(NOW / 1000), 400],
    ['0', 400],
    ['-1', 400],
    ['', 422],
    ['1e9', 422],
    ['soon', 422],
  ])('expires=%s is answered %i', async (value, status) => {
    const control = open({ access: { signing: SIGNING } })
    const id = await make(control, { secureAccess: true })
    const answer = await control.call('GET', `/sandboxes/${id}/endpoints/80?expires=${value}`)
    expect(answer.status).toBe(status)
    if (status === 400) expect(answer.body.code).toBe('SANDBOX::INVALID_PARAMETER')
  })
})

describe('links', () => {
  async function shared(body: Record<string, unknown> = { port: 8000 }) {
    const control = open()
    const id = await make(control, { secureAccess: true })
    const made = await control.call('POST', `/sandboxes/${id}/shares`, body)
    return { control, id, made }
  }

  test('one is made, listed without what it carries, told to gateways by its hash, and revoked', async () => {
    const { control, id, made } = await shared({
      port: 8000,
      name: 'for Ann',
      path: '/docs',
      methods: ['GET'],
    })
    const { token, url, ...told } = made.body
    expect(made.status).toBe(201)
    const secret = parseShareToken(String(token))?.secret ?? ''
    expect(url).toBe(`http://${id}-8000.localhost:8080/docs?opensandbox_share=${token}`)
    expect(told).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{16}$/),
      sandboxId: id,
      port: 8000,
      name: 'for Ann',
      path: '/docs',
      methods: ['GET'],
      once: false,
      expiresAt: '2026-01-02T00:00:00Z',
      createdAt: '2026-01-01T00:00:00Z',
      createdBy: 'local',
    })
    expect((await control.call('GET', `/v1/sandboxes/${id}/shares`)).body).toEqual({ items: [told] })
    const share = {
      id: told.id,
      port: 8000,
      hash: hashKey(secret),
      until: NOW + 86_400_000,
      path: '/docs',
      methods: ['GET'],
    }
    expect(control.feed.get(id)?.shares).toEqual([share])
    const revoke = () => control.call('DELETE', `/sandboxes/${id}/shares/${told.id}`)
    expect([(await revoke()).status, (await revoke()).status]).toEqual([204, 404])
    expect(control.feed.get(id)?.shares).toEqual([])
  })

  test.each([
    ['a port of ours', { port: 44772 }, 400, 'port must not be 44772'],
    ['the port of the policy', { port: 18080 }, 400, 'port must not be 18080'],
    ['no port', {}, 422, 'port'],
    ['a port that there is not', { port: 65536 }, 422, 'port'],
    ['a path with dots', { port: 1, path: '/a/../b' }, 422, 'path'],
    ['a path with hidden dots', { port: 1, path: '/a/%2e%2e/b' }, 422, 'path'],
    ['a path with a query', { port: 1, path: '/a?b' }, 422, 'path'],
    ['a path that begins nowhere', { port: 1, path: 'a' }, 422, 'path'],
    ['a path with a line end', { port: 1, path: '/a\r\nb' }, 422, 'path'],
    ['no method', { port: 1, methods: [] }, 422, 'methods'],
    ['a method twice', { port: 1, methods: ['GET', 'GET'] }, 422, 'methods'],
    ['a method that there is not', { port: 1, methods: ['get'] }, 422, 'methods'],
    ['two ends', { port: 1, ttlSeconds: 5, expiresAt: '2026-01-02T00:00:00Z' }, 422, 'ttlSeconds'],
    ['an end that has passed', { port: 1, expiresAt: '2025-01-02T00:00:00Z' }, 422, 'expiresAt'],
    ['an end too far away', { port: 1, expiresAt: '2027-01-02T00:00:00Z' }, 422, 'expiresAt'],
    ['too long', { port: 1, ttlSeconds: 91 * 86_400 }, 422, 'ttlSeconds'],
    ['something unknown', { port: 1, until: 5 }, 422, 'until'],
  ])('%s is refused', async (_, body, status, named) => {
    const { made } = await shared(body)
    expect([made.status, made.text]).toEqual([status, expect.stringContaining(named)])
  })

  test('a sandbox that is open to everybody has nothing to share', async () => {
    const control = open()
    const id = await make(control)
    const { status, body } = await control.call('POST', `/sandboxes/${id}/shares`, { port: 80 })
    expect([status, body.code]).toEqual([409, 'GENERAL::CONFLICT'])
  })

  test('they are as many as may be, those that have ended not counted, and go with the sandbox', async () => {
    let now = NOW
    const control = open({ now: () => now })
    const id = await make(control, { secureAccess: true })
    const share = () => control.call('POST', `/sandboxes/${id}/shares`, { port: 80, ttlSeconds: 60 })
    for (let at = 0; at < 100; at++) expect((await share()).status).toBe(201)
    expect((await share()).status).toBe(409)
    now += 60_000
    expect((await share()).status).toBe(201)
    expect(control.store.shares.of(id)).toHaveLength(1)
    await control.call('DELETE', `/sandboxes/${id}`)
    expect(control.store.shares.of(id)).toEqual([])
  })

  test("another tenant's are not there", async () => {
    const keys = ['red', 'blue'].map((tenant) => ({
      name: tenant,
      hash: hashKey(tenant),
      role: 'admin' as const,
      tenant,
    }))
    const control = open({ access: { keys } })
    const red = { 'open-sandbox-api-key': 'red' }
    const id = await make(control, { secureAccess: true }, red)
    const made = await control.call('POST', `/sandboxes/${id}/shares`, { port: 80 }, red)
    const blue = { 'open-sandbox-api-key': 'blue' }
    const path = `/sandboxes/${id}/shares`
    expect((await control.call('GET', path, undefined, blue)).status).toBe(404)
    expect((await control.call('POST', path, { port: 80 }, blue)).status).toBe(404)
    expect((await control.call('DELETE', `${path}/${made.body.id}`, undefined, blue)).status).toBe(404)
    const other = await make(control, { secureAccess: true }, blue)
    const stolen = await control.call('DELETE', `/sandboxes/${other}/shares/${made.body.id}`, undefined, blue)
    expect(stolen.status).toBe(404)
    expect(control.store.shares.of(id)).toHaveLength(1)
  })

  test('one that opens once is used up by the first, and what opens then is told to gateways', async () => {
    const { control, id, made } = await shared({ port: 80, once: true, ttlSeconds: 60 })
    const { shares } = control.store
    const secret = parseShareToken(String(made.body.token))?.secret ?? ''
    const link = { id: String(made.body.id), hash: hashKey(secret) }
    expect(control.feed.get(id)?.shares).toMatchObject([{ hash: link.hash, once: true }])
    expect(shares.redeem({ ...link, hash: hashKey('x') }, 'n', NOW)).toBe(false)
    expect(shares.redeem(link, 'n', NOW + 60_000)).toBe(false)
    expect(shares.redeem(link, hashKey('session'), NOW + 1000)).toBe(true)
    expect(shares.redeem(link, 'n', NOW + 1000)).toBe(false)
    expect(shares.redeem({ ...link, hash: hashKey('session') }, 'n', NOW + 1000)).toBe(false)
    expect(control.feed.get(id)?.shares).toEqual([
      { id: link.id, port: 80, hash: hashKey('session'), until: NOW + 60_000 },
    ])
    const { items } = (await control.call('GET', `/sandboxes/${id}/shares`)).body
    expect(items).toMatchObject([{ once: true, usedAt: '2026-01-01T00:00:01Z' }])
  })

  test('a link for many is not used up', async () => {
    const { control, made } = await shared()
    const secret = parseShareToken(String(made.body.token))?.secret ?? ''
    expect(control.store.shares.redeem({ id: String(made.body.id), hash: hashKey(secret) }, 'n', NOW)).toBe(
      false,
    )
  })

  test('when the clock is set they hold as long as before', async () => {
    const { control, id } = await shared({ port: 80, ttlSeconds: 60 })
    control.store.shares.tell(control.store.shares.shift(5000))
    expect(control.feed.get(id)?.shares?.[0]?.until).toBe(NOW + 65_000)
  })
})

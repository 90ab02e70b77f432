// Names of their own for sandboxes: who may have which, and what gateways are told.

import { expect, onTestFinished, test } from 'vitest'
import { RoutesFeed } from '../../control/routes-feed.ts'
import { hashKey } from '../../lib/access.ts'
import { canonicalName, isAllowedName } from '../../lib/api/domains.ts'
import { type ControlApp, type ControlAppOptions, createControlApp, MINIMAL } from '../support/control-app.ts'

function open(options: ControlAppOptions = {}): ControlApp & { feed: RoutesFeed } {
  const settings = {
    domain: 'box.example',
    eip: 'api.corp.example:8080/x',
    customDomains: ['*.apps.example', 'one.example', '*.corp.example'],
  }
  const control = createControlApp({ settings, ...options })
  const feed = new RoutesFeed({ store: control.store, policySocket: '/p' })
  onTestFinished(async () => {
    feed[Symbol.dispose]()
    await control.close()
  })
  return { ...control, feed }
}

async function make({ call }: ControlApp, headers = {}): Promise<string> {
  const made = await call('POST', '/v1/sandboxes', MINIMAL, headers)
  expect([made.status, made.text]).toEqual([202, expect.any(String)])
  return String(made.body.id)
}

test('a name is given, moved to another port, told to gateways, and taken away', async () => {
  const control = open()
  const { call, feed } = control
  const id = await make(control)
  const put = await call('PUT', `/v1/sandboxes/${id}/domains/Shop.Apps.Example.`, { port: 3000 })
  expect([put.status, put.body]).toEqual([
    200,
    {
      name: 'shop.apps.example',
      sandboxId: id,
      port: 3000,
      createdAt: expect.any(String),
      createdBy: expect.any(String),
    },
  ])
  expect(feed.get(id)?.domains).toEqual([{ name: 'shop.apps.example', port: 3000 }])
  expect(
    (await call('PUT', `/v1/sandboxes/${id}/domains/shop.apps.example`, { port: 3001 })).body,
  ).toMatchObject({ port: 3001 })
  await call('PUT', `/v1/sandboxes/${id}/domains/one.example`, { port: 3000 })
  const { items } = (await call('GET', `/v1/sandboxes/${id}/domains`)).body as {
    items: { name: string; port: number }[]
  }
  expect(items.map(({ name, port }) => [name, port])).toEqual([
    ['one.example', 3000],
    ['shop.apps.example', 3001],
  ])
  for (const name of ['one.example', 'SHOP.apps.example'])
    expect((await call('DELETE', `/v1/sandboxes/${id}/domains/${name}`)).status).toBe(204)
  expect((await call('DELETE', `/v1/sandboxes/${id}/domains/one.example`)).status).toBe(404)
  expect(feed.get(id)).not.toHaveProperty('domains')
})

test.each([
  ['localhost', 'name must be a full host name'],
  ['127.0.0.1', 'name must be a full host name'],
  ['*.apps.example', 'name must be a full host name'],
  ['a_b.apps.example', 'name must be a full host name'],
  [
    'other.example',
    'name must be one of *.apps.example, one.example, *.corp.example, but it is "other.example"',
  ],
  ['apps.example', 'name must be one of'],
  ['sub.one.example', 'name must be one of'],
  ['xapps.example', 'name must be one of'],
  ['box.example', 'name must not be, or lie below, a name of this server'],
  ['a-80.box.example', 'name must not be, or lie below, a name of this server'],
  ['api.corp.example', 'name must not be, or lie below, a name of this server'],
])('%s is not given away', async (name, said) => {
  const control = open()
  const id = await make(control)
  const { status, body } = await control.call('PUT', `/v1/sandboxes/${id}/domains/${name}`, { port: 80 })
  expect([status, body]).toMatchObject([
    400,
    { code: 'SANDBOX::INVALID_PARAMETER', message: expect.stringContaining(said) },
  ])
})

test('none is given away unless the configuration says so, and none for execd and egress', async () => {
  const control = open({ settings: { domain: 'localhost' } })
  const id = await make(control)
  const { body } = await control.call('PUT', `/v1/sandboxes/${id}/domains/a.example`, { port: 80 })
  expect(body.message).toMatch(/gives no names away: front\.custom_domains/)
  const other = open()
  const own = await make(other)
  for (const port of [44772, 18080])
    expect((await other.call('PUT', `/v1/sandboxes/${own}/domains/one.example`, { port })).status).toBe(400)
  expect((await other.call('PUT', `/v1/sandboxes/${own}/domains/one.example`, { port: 0 })).status).toBe(422)
})

test('a name is one sandbox’s, for as long as that lives, and another tenant’s sandbox is not there', async () => {
  const keys = ['red', 'blue'].map((tenant) => ({
    name: tenant,
    hash: hashKey(tenant),
    role: 'member' as const,
    tenant,
  }))
  const control = open({ access: { apiKey: 'operator', keys } })
  const as = (key: string) => ({ 'open-sandbox-api-key': key })
  const [red, blue] = [await make(control, as('red')), await make(control, as('blue'))]
  const put = (id: string, key: string) =>
    control.call('PUT', `/v1/sandboxes/${id}/domains/one.example`, { port: 80 }, as(key))
  expect((await put(red, 'red')).status).toBe(200)
  expect((await put(blue, 'blue')).status).toBe(409)
  expect((await put(red, 'blue')).status).toBe(404)
  expect((await control.call('DELETE', `/v1/sandboxes/${red}`, undefined, as('red'))).status).toBe(204)
  await expect.poll(async () => (await put(blue, 'blue')).status).toBe(200)
})

test('a sandbox has so many', async () => {
  const control = open()
  const id = await make(control)
  const put = (at: number) =>
    control.call('PUT', `/v1/sandboxes/${id}/domains/n${at}.apps.example`, { port: 80 })
  for (let at = 0; at < 20; at++) expect((await put(at)).status).toBe(200)
  expect((await put(20)).status).toBe(409)
  expect((await put(3)).status).toBe(200)
})

test('names as they are looked up', () => {
  expect(['A.Example', 'a.example.', 'xn--bcher-kva.example'].map(canonicalName)).toEqual([
    'a.example',
    'a.example',
    'xn--bcher-kva.example',
  ])
  expect(
    ['', 'a', 'a..b', '-a.b', 'a.1', 'bücher.example', 'a b.c', `${'a.'.repeat(140)}b`].map(canonicalName),
  ).toEqual(Array(8).fill(undefined))
  expect([['*'], ['*.b'], ['a.b'], []].map((patterns) => isAllowedName('a.b', patterns))).toEqual([
    true,
    true,
    true,
    false,
  ])
})

// When a key is asked for: once there is one, or ever was, for good.

import { expect, onTestFinished, test } from 'vitest'
import { Keyring, type KeySettings } from '../../../control/access/keyring.ts'
import { openDatabase } from '../../../control/store/database.ts'
import { KeyStore } from '../../../control/store/keys.ts'
import { Store } from '../../../control/store/sqlite.ts'
import { hashKey } from '../../../lib/access.ts'
import { type ControlApp, createControlApp, MIGRATIONS } from '../../support/control-app.ts'

const DAY_MS = 86_400_000
const HEADER = 'open-sandbox-api-key'

/** A server on a database that outlives it. */
function restarted(store: Store, now: () => number, access: KeySettings & { keys?: [] } = {}): ControlApp {
  return createControlApp({ store, now, access })
}

function openStore(): Store {
  const store = new Store({ path: ':memory:', migrationsDir: MIGRATIONS })
  onTestFinished(() => store.close())
  return store
}

test('S19: a restart after every made key has expired does not open the API again', async () => {
  const store = openStore()
  let now = Date.parse('2026-01-01T00:00:00Z')
  const first = restarted(store, () => now)
  const expiresAt = new Date(now + DAY_MS).toISOString()
  const made = await first.call('POST', '/v1/admin/keys', { name: 'only', role: 'admin', expiresAt })
  expect(made.status).toBe(201)
  now += 2 * DAY_MS
  const headers = { [HEADER]: String(made.body.key) }
  expect((await first.call('GET', '/sandboxes', undefined, headers)).status).toBe(401)

  const second = restarted(store, () => now)
  expect((await second.call('GET', '/sandboxes')).body.code).toBe('MISSING_API_KEY')
  expect((await second.call('POST', '/v1/admin/keys', { name: 'mine', role: 'admin' })).status).toBe(401)

  // The way back in: the operator says so in the configuration.
  const operated = restarted(store, () => now, { apiKey: 'root-key' })
  expect((await operated.call('GET', '/sandboxes', undefined, { [HEADER]: 'root-key' })).status).toBe(200)
  expect((await operated.call('GET', '/sandboxes')).status).toBe(401)
  const opened = restarted(store, () => now, { allowNoKey: true })
  expect((await opened.call('GET', '/sandboxes')).status).toBe(200)
})

test('S19: revoking the last key does not open the API either, at once or after a restart', async () => {
  const store = openStore()
  const first = restarted(store, () => 1000)
  const made = await first.call('POST', '/v1/admin/keys', { name: 'only', role: 'admin' })
  const headers = { [HEADER]: String(made.body.key) }
  const revoked = await first.call('DELETE', `/v1/admin/keys/${String(made.body.id)}`, undefined, headers)
  expect(revoked.status).toBe(204)
  expect((await first.call('GET', '/sandboxes')).status).toBe(401)
  expect((await restarted(store, () => 1000).call('GET', '/sandboxes')).status).toBe(401)
})

test('auth.allow_no_key opens nothing while a made key is there', async () => {
  const store = openStore()
  const first = restarted(store, () => 1000)
  await first.call('POST', '/v1/admin/keys', { name: 'only', role: 'admin' })
  expect((await restarted(store, () => 1000, { allowNoKey: true }).call('GET', '/sandboxes')).status).toBe(
    401,
  )
})

function openKeyring(settings: KeySettings = {}): Keyring {
  const database = openDatabase({ path: ':memory:', migrationsDir: MIGRATIONS })
  onTestFinished(() => database.close())
  return new Keyring({ store: new KeyStore(database), now: () => 1000, ...settings })
}

test('keys that are taken out of the configuration stop opening, and leave the API closed', async () => {
  const keyring = openKeyring({
    configured: [{ name: 'ci', hash: hashKey('ci-1'), role: 'member', tenant: 'red' }],
  })
  expect(await keyring.find('ci-1')).toEqual({ name: 'ci', role: 'member', tenant: 'red' })
  keyring.configure({})
  expect(await keyring.find('ci-1')).toBeUndefined()
  expect([keyring.isNeeded, keyring.isLockedOut]).toEqual([true, true])
  keyring.configure({ apiKey: 'root-key' })
  expect(await keyring.find('root-key')).toEqual({ name: 'default', role: 'admin' })
  expect([keyring.isNeeded, keyring.isLockedOut]).toEqual([true, false])
})

test('the first key of a configuration that was read anew closes the API', () => {
  const keyring = openKeyring()
  expect([keyring.isNeeded, keyring.isLockedOut]).toEqual([false, false])
  keyring.configure({ apiKey: 'root-key' })
  expect(keyring.isNeeded).toBe(true)
})

test.each(['default', 'ci'])(
  'no key can be made with the name of one of the configuration: %s',
  async (name) => {
    const control = createControlApp({
      access: { apiKey: 'root-key', keys: [{ name: 'ci', hash: hashKey('ci-1'), role: 'admin' }] },
    })
    onTestFinished(control.close)
    const answer = await control.call('POST', '/v1/admin/keys', { name }, { [HEADER]: 'root-key' })
    expect([answer.status, answer.body.code]).toEqual([409, 'GENERAL::CONFLICT'])
  },
)

test('a tenant with the name of something that every object has has the quota of all others', async () => {
  const control = createControlApp({
    access: { apiKey: 'root-key', quotas: { default: { sandboxes: 3 }, tenants: { red: { sandboxes: 1 } } } },
  })
  onTestFinished(control.close)
  const headers = { [HEADER]: 'root-key' }
  const quotaOf = async (tenant: string) =>
    (await control.call('GET', `/v1/admin/tenants/${tenant}`, undefined, headers)).body.quota
  expect(await quotaOf('constructor')).toEqual({ sandboxes: 3 })
  expect(await quotaOf('red')).toEqual({ sandboxes: 1 })
  const list = await control.call('GET', '/v1/admin/tenants', undefined, headers)
  expect((list.body.items as { name: string }[]).map(({ name }) => name)).toEqual(['red'])
})

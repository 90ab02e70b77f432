// Where the secrets of a sandbox are: in one file that is nobody else's, and in no answer but that to who may have them.

import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Store } from '../../control/store/sqlite.ts'
import { createControlApp, MIGRATIONS, MINIMAL } from '../support/control-app.ts'

const ROOT = { 'open-sandbox-api-key': 'root-key' }

test('S15: the tokens of a sandbox are in the database alone, and read-only keys are told none', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tokens-'))
  const path = join(folder, 'control.db')
  const store = new Store({ path, migrationsDir: MIGRATIONS })
  const told: string[] = []
  const control = createControlApp({ store, access: { apiKey: 'root-key' } })
  onTestFinished(async () => {
    await control.close()
    rmSync(folder, { recursive: true, force: true })
  })
  expect(statSync(path).mode & 0o777).toBe(0o600)
  const made = await control.call('POST', '/sandboxes', MINIMAL, ROOT)
  const id = String(made.body.id)
  const key = await control.call('POST', '/admin/keys', { name: 'eye', role: 'read-only' }, ROOT)
  const eye = { 'open-sandbox-api-key': String(key.body.key) }
  const below = `/sandboxes/${id}`
  for (const route of [
    '/sandboxes',
    below,
    `${below}/history`,
    `${below}/diagnostics/inspect`,
    `${below}/diagnostics/logs`,
    `${below}/diagnostics/events`,
    `${below}/diagnostics/summary`,
    `${below}/endpoints/44772`,
    `${below}/endpoints/18080`,
  ]) {
    const { status, text, headers } = await control.call('GET', route, undefined, eye)
    expect([route, status]).toEqual([route, 200])
    told.push(text, JSON.stringify([...headers]))
  }
  told.push(JSON.stringify([...control.runtime.sandboxes.values()]))
  const { execdToken = '', egressToken = '' } = store.get(id) ?? {}
  expect([execdToken.length, egressToken.length].every((length) => length >= 32)).toBe(true)
  for (const secret of [execdToken, egressToken, String(key.body.key)])
    expect(told.some((line) => line.includes(secret))).toBe(false)
  // What opens the API is not even there.
  const files = [path, `${path}-wal`].map((file) => readFileSync(file, 'latin1')).join('')
  expect([files.includes(execdToken), files.includes(String(key.body.key))]).toEqual([true, false])
})

// A stream that goes on for as long as its reader likes, and as its key opens.

import { expect, onTestFinished, test } from 'vitest'
import { createControlApp, MINIMAL } from '../../support/control-app.ts'

const ROOT = { 'open-sandbox-api-key': 'root-key' }

test('a stream of events ends with its key: what happens after that is not for its holder', async () => {
  const control = createControlApp({ access: { apiKey: 'root-key' } })
  onTestFinished(control.close)
  const made = await control.call('POST', '/v1/admin/keys', { name: 'reader', role: 'read-only' }, ROOT)
  const response = await control.app.request('http://localhost/v1/events', {
    headers: { host: 'localhost:8080', 'open-sandbox-api-key': String(made.body.key) },
  })
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let seen = ''
  const readUntil = async (pattern: RegExp) => {
    while (!pattern.test(seen)) {
      const part = await reader.read()
      if (part.done) return 'the end'
      seen += part.value
    }
    return 'more'
  }
  const first = await control.call('POST', '/v1/sandboxes', MINIMAL, ROOT)
  expect(await readUntil(new RegExp(String(first.body.id)))).toBe('more')

  await control.call('DELETE', `/v1/admin/keys/${String(made.body.id)}`, undefined, ROOT)
  const second = await control.call('POST', '/v1/sandboxes', MINIMAL, ROOT)
  expect(await readUntil(new RegExp(String(second.body.id)))).toBe('the end')
})

test('a stream that was opened without a key ends when the first one is made', async () => {
  const control = createControlApp()
  onTestFinished(control.close)
  const response = await control.app.request('http://localhost/v1/events', {
    headers: { host: 'localhost:8080' },
  })
  const reading = response.text()
  const made = await control.call('POST', '/v1/admin/keys', { name: 'first', role: 'admin' })
  const headers = { 'open-sandbox-api-key': String(made.body.key) }
  const sandbox = await control.call('POST', '/v1/sandboxes', MINIMAL, headers)
  expect(sandbox.status).toBe(202)
  expect(await reading).not.toContain(String(sandbox.body.id))
})

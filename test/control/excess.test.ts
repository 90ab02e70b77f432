// As much as a caller likes to name, without effect or beyond any use, must not cost the answer.

import { expect, onTestFinished, test } from 'vitest'
import { fitWarnings } from '../../control/routes/tell-warnings.ts'
import { createControlApp, MINIMAL } from '../support/control-app.ts'

const many = (count: number, name = 'E') =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`${name}${at}`, '1']))

test.each([
  ['\u043a\u043b\u044e\u0447', 'resourceLimits.???? has no effect on this runtime'],
  ['a\r\nX-Other: 1', 'resourceLimits.a??X-Other: 1 has no effect on this runtime'],
  ['b'.repeat(3000), `resourceLimits.${'b'.repeat(185)}...`],
])('a sandbox that was made is answered whatever its limits are called', async (name, warning) => {
  const control = createControlApp()
  onTestFinished(control.close)
  const request = { ...MINIMAL, resourceLimits: { cpu: '1', [name]: '1' } }
  const key = { 'idempotency-key': 'a-create' }
  for (const answer of [
    await control.call('POST', '/v1/sandboxes', request, key),
    await control.call('POST', '/v1/sandboxes', request, key),
  ])
    expect([answer.status, answer.headers.get('opensandbox-warning')]).toEqual([202, warning])
  expect(control.store.all()).toHaveLength(1)
})

test('more warnings than a client would read are told as a number', async () => {
  const control = createControlApp()
  onTestFinished(control.close)
  const request = { ...MINIMAL, resourceLimits: many(100) }
  const { status, headers } = await control.call('POST', '/v1/sandboxes', request)
  expect(status).toBe(202)
  expect(headers.get('opensandbox-warning')?.split(', ')).toHaveLength(21)
  expect(headers.get('opensandbox-warning')).toMatch(/, 80 more have no effect on this runtime$/)
  expect(fitWarnings(['one'])).toEqual(['one'])
})

test.each([
  ['env', 5000],
  ['resourceLimits', 100],
  ['resourceRequests', 100],
  ['extensions', 1000],
])('%s may have %i entries, and one more makes nothing', async (field, max) => {
  const control = createControlApp()
  onTestFinished(control.close)
  const refused = await control.call('POST', '/v1/sandboxes', { ...MINIMAL, [field]: many(max + 1) })
  expect([refused.status, refused.body.code]).toEqual([422, 'GENERAL::INVALID_REQUEST'])
  expect(refused.body.message).toContain(`${field}: must have at most ${max} entries, but it has ${max + 1}`)
  expect(control.store.all()).toEqual([])
  expect((await control.call('POST', '/v1/sandboxes', { ...MINIMAL, [field]: many(max) })).status).toBe(202)
})

test.each(['/v1/sandboxes', '/v1/templates'])('a filter of %s has at most 100 pairs', async (path) => {
  const control = createControlApp()
  onTestFinished(control.close)
  const list = (count: number) => {
    const pairs = Object.entries(many(count)).map((pair) => pair.join('='))
    return control.call('GET', `${path}?metadata=${encodeURIComponent(pairs.join('&'))}`)
  }
  expect((await list(100)).status).toBe(200)
  expect(await list(1100)).toMatchObject({
    status: 400,
    body: { code: 'INVALID_METADATA_FORMAT', message: 'metadata must have at most 100 pairs' },
  })
})

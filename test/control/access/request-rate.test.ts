// How fast a tenant may ask.

import { expect, onTestFinished, test } from 'vitest'
import { decideRate, RequestRate } from '../../../control/access/request-rate.ts'
import { createControlApp } from '../../support/control-app.ts'

test.each([
  ['the first', 0, 60, 5000, { isAllowed: true, paidUntil: 6000 }],
  ['one after others', 8000, 60, 5000, { isAllowed: true, paidUntil: 9000 }],
  ['the last of a minute at once', 64_000, 60, 5000, { isAllowed: true, paidUntil: 65_000 }],
  ['one more', 65_000, 60, 5000, { isAllowed: false, waitMs: 1000 }],
  ['one more, half a share later', 65_000, 60, 5500, { isAllowed: false, waitMs: 500 }],
  ['one more, a share later', 65_000, 60, 6000, { isAllowed: true, paidUntil: 66_000 }],
  ['the only one of a minute', 5000, 1, 5000, { isAllowed: true, paidUntil: 65_000 }],
  ['a second one', 65_000, 1, 5000, { isAllowed: false, waitMs: 60_000 }],
])('decideRate(): %s', (_what, paidUntil, perMinute, now, decision) => {
  expect(decideRate(paidUntil, perMinute, now)).toEqual(decision)
})

test('RequestRate: just as many as there are in a minute, though shares of it do not add up exactly', () => {
  const rate = new RequestRate(7, () => 123.456)
  for (let at = 0; at < 7; at++) rate.admit('red')
  expect(() => rate.admit('red')).toThrow('may send 7 requests in a minute')
})

test('RequestRate: tenants that ask for nothing any more are forgotten', () => {
  let now = 0
  const rate = new RequestRate(60, () => now)
  for (let at = 0; at < 5000; at++) {
    now += 1000
    rate.admit(`t${at}`)
  }
  expect(rate.size).toBeLessThan(1100)
})

test('a tenant that asks too fast is told when to come back, and nobody else is', async () => {
  const control = createControlApp({
    access: {
      apiKey: 'root-key',
      requestsPerMinute: 3,
    },
  })
  onTestFinished(control.close)
  const root = { 'open-sandbox-api-key': 'root-key' }
  const keyOf = async (name: string, tenant: string) => {
    const { body } = await control.call('POST', '/admin/keys', { name, tenant }, root)
    return { 'open-sandbox-api-key': String(body.key) }
  }
  const [red, twin, blue] = [
    await keyOf('red', 'red'),
    await keyOf('twin', 'red'),
    await keyOf('blue', 'blue'),
  ]
  const statusOf = async (key: Record<string, string>) =>
    (await control.call('GET', '/v1/sandboxes', undefined, key)).status
  // Two keys of one tenant have one share.
  expect([await statusOf(red), await statusOf(twin), await statusOf(red)]).toEqual([200, 200, 200])
  const { status, body, headers } = await control.call('GET', '/v1/sandboxes', undefined, red)
  expect([status, body.code]).toEqual([429, 'GENERAL::TOO_MANY_REQUESTS'])
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(10)
  expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(20)
  expect(await statusOf(blue)).toBe(200)
  for (let at = 0; at < 5; at++) expect(await statusOf(root)).toBe(200)
})

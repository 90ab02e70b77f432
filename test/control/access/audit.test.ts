// The audit is bounded by what keys may do, and not by what anybody asks for.

import { expect, onTestFinished, test } from 'vitest'
import { createLogger } from '../../../lib/log.ts'
import { createControlApp, MINIMAL } from '../../support/control-app.ts'

const ROOT = { 'open-sandbox-api-key': 'root-key' }
const MAX_REFUSED = 300

test('who has no key cannot fill the audit, and what others do stands in it all the same', async () => {
  const lines: string[] = []
  let now = Date.UTC(2026, 0, 1)
  const control = createControlApp({
    access: { apiKey: 'root-key' },
    now: () => now,
    log: createLogger({ program: 'control', write: (line) => void lines.push(line) }),
  })
  onTestFinished(control.close)
  const refuse = async (times: number) => {
    for (let count = 0; count < times; count++)
      expect((await control.call('DELETE', '/v1/sandboxes/any')).status).toBe(401)
  }
  const rowsOf = async (actor: string) => {
    const query = `limit=1000&actor=${encodeURIComponent(actor)}`
    return ((await control.call('GET', `/v1/admin/audit?${query}`, undefined, ROOT)).body.items as []).length
  }
  await refuse(MAX_REFUSED + 20)
  expect(await rowsOf('(unknown)')).toBe(MAX_REFUSED)
  expect(lines.filter((line) => line.includes('left out of the audit'))).toEqual([
    expect.stringContaining('by=(unknown)'),
  ])
  expect((await control.call('POST', '/v1/sandboxes', MINIMAL, ROOT)).status).toBe(202)
  expect((await control.call('DELETE', '/v1/sandboxes/none', undefined, ROOT)).status).toBe(404)
  expect(await rowsOf('default')).toBe(2)

  now += 60_000
  await refuse(1)
  expect(await rowsOf('(unknown)')).toBe(MAX_REFUSED + 1)
})

// Real apps in a real browser, by the plain port and by TLS. `npm run apps` tries larger ones, too, which take minutes to get.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { SMALL_APPS } from './apps.ts'
import { openStage, type Stage } from './stage.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

let stage: Stage
beforeAll(async () => {
  stage = await openStage(SMALL_APPS)
})
afterAll(() => stage?.dispose())

describe.each(SMALL_APPS)('$name', (app) => {
  test.each(['plain', 'tls'] as const)('works in a browser by the %s port', async (front) => {
    expect(await stage.tryOut(app, front)).not.toBe('')
  })
})

// Every call of the Python SDK to the lifecycle API, by its asynchronous classes and by its synchronous ones.

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { type CheckResult, checksOf, runChecks } from '../support/python-checks.ts'
import { pythonWithSdk } from '../support/python-sdk.ts'

const SCRIPT = join(import.meta.dirname, 'lifecycle_surface.py')

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
})
afterAll(async () => {
  await edge?.dispose()
})

describe.each(['async', 'sync'])('Python SDK, %s', (mode) => {
  let results: Map<string, CheckResult>
  beforeAll(async () => {
    results = await runChecks(await pythonWithSdk(), SCRIPT, [`127.0.0.1:${edge.port}`, 'host', mode])
  }, 540_000)

  test.each(checksOf(SCRIPT))('%s', (name) => {
    const result = results.get(name)
    expect(result, 'the script ended before this check').toBeDefined()
    expect(result?.detail ?? '').toBe('')
    expect(result?.ok).toBe(true)
  })
})

// Templates and pools by the Python SDK as published on PyPI, unchanged.

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { type CheckResult, checksOf, runChecks } from '../support/python-checks.ts'
import { pythonWithSdk } from '../support/python-sdk.ts'

const SCRIPT = join(import.meta.dirname, 'templates_surface.py')

let edge: Edge
let results: Map<string, CheckResult>

beforeAll(async () => {
  edge = await startEdge()
  const made = await fetch(`${edge.url}/v1/pools`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      name: 'warm',
      template: { image: 'host', entrypoint: ['sleep', '1000'], resourceLimits: { memory: '256Mi' } },
      capacitySpec: { bufferMin: 1, bufferMax: 1, poolMin: 0, poolMax: 5 },
    }),
  })
  expect(made.status).toBe(201)
  results = await runChecks(await pythonWithSdk(), SCRIPT, [`127.0.0.1:${edge.port}`, 'host'])
}, 540_000)

afterAll(async () => {
  await edge?.dispose()
})

test.each(checksOf(SCRIPT))('Python SDK: %s', (name) => {
  const result = results.get(name)
  expect(result, 'the script ended before this check').toBeDefined()
  expect(result?.detail ?? '').toBe('')
  expect(result?.ok).toBe(true)
})

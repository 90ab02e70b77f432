// The Python SDK as published on PyPI, unchanged, through the main job and every call that the server covers.

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { type CheckResult, checksOf, runChecks } from '../support/python-checks.ts'
import { pythonWithSdk } from '../support/python-sdk.ts'

const SCRIPT = join(import.meta.dirname, 'main_job.py')

let edge: Edge
let results: Map<string, CheckResult>

beforeAll(async () => {
  edge = await startEdge()
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

// Every call of the published Python SDK to isolated sessions.

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { debianTarball } from '../support/images.ts'
import { type CheckResult, checksOf, runChecks } from '../support/python-checks.ts'
import { pythonWith } from '../support/python-sdk.ts'

const SCRIPT = join(import.meta.dirname, 'isolated_surface.py')

let edge: Edge
beforeAll(async () => {
  edge = await startEdge({
    config: `[runtime]\nallow_isolated_sessions = true\n[runtime.images]\ndebian = "${debianTarball()}"\n`,
  })
}, 400_000)
afterAll(async () => {
  await edge?.dispose()
})

describe('Python SDK 1.1.1', () => {
  let results: Map<string, CheckResult>
  beforeAll(async () => {
    const python = await pythonWith('opensandbox==1.1.1')
    results = await runChecks(python, SCRIPT, [`127.0.0.1:${edge.port}`, 'debian'])
  }, 540_000)

  test.each(checksOf(SCRIPT))('%s', (name) => {
    const result = results.get(name)
    expect(result, 'the script ended before this check').toBeDefined()
    expect(result?.detail ?? '').toBe('')
    expect(result?.ok).toBe(true)
  })
})

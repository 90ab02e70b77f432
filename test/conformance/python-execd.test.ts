// Every call of the Python SDK to the daemon inside a sandbox, by the current version and by those that agent toolkits still
// pin (contract: clients.md 19.10).

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { type CheckResult, checksOf, runChecks } from '../support/python-checks.ts'
import { pythonWith } from '../support/python-sdk.ts'

const SCRIPT = join(import.meta.dirname, 'execd_surface.py')
const VERSIONS = ['1.1.1', '0.1.16', '0.1.11', '0.1.7']

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
})
afterAll(async () => {
  await edge?.dispose()
})

describe.each(VERSIONS)('Python SDK %s', (version) => {
  let results: Map<string, CheckResult>
  beforeAll(async () => {
    const python = await pythonWith(`opensandbox==${version}`)
    results = await runChecks(python, SCRIPT, [`127.0.0.1:${edge.port}`, 'host'])
  }, 540_000)

  test.for(checksOf(SCRIPT))('%s', (name, context) => {
    const result = results.get(name)
    expect(result, 'the script ended before this check').toBeDefined()
    expect(result?.detail ?? '').toBe('')
    expect(result?.ok).toBe(true)
    if (result?.missing) context.skip(`SDK ${version} has no such call`)
  })
})

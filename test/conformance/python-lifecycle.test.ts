// Every call of the Python SDK to the lifecycle API: by the asynchronous classes of the current version and by its synchronous ones,
// and by versions that agent toolkits still pin (contract: clients.md 19.10).

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { type CheckResult, checksOf, runChecks } from '../support/python-checks.ts'
import { pythonWith, pythonWithSdk } from '../support/python-sdk.ts'

const SCRIPT = join(import.meta.dirname, 'lifecycle_surface.py')
const OLDER = join(import.meta.dirname, 'older_lifecycle.py')

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

describe.each(['0.1.16', '0.1.7'])('Python SDK %s', (version) => {
  let results: Map<string, CheckResult>
  beforeAll(async () => {
    const python = await pythonWith(`opensandbox==${version}`)
    results = await runChecks(python, OLDER, [`127.0.0.1:${edge.port}`, 'host'])
  }, 540_000)

  test.for(checksOf(OLDER))('%s', (name, context) => {
    const result = results.get(name)
    expect(result, 'the script ended before this check').toBeDefined()
    expect(result?.detail ?? '').toBe('')
    expect(result?.ok).toBe(true)
    if (result?.missing) context.skip(`SDK ${version} has no such call`)
  })
})

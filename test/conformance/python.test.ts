// The Python SDK as published on PyPI, unchanged, through the main job and every call that the server covers.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { pythonWithSdk } from '../support/python-sdk.ts'

const SCRIPT = join(import.meta.dirname, 'main_job.py')
const CHECKS = [...readFileSync(SCRIPT, 'utf8').matchAll(/^async def (check_\w+)/gm)].map(
  (match) => match[1] ?? '',
)

type Result = { name: string; ok: boolean; detail?: string }

const run = promisify(execFile)
let edge: Edge
let results: Map<string, Result>

beforeAll(async () => {
  edge = await startEdge()
  const { stdout } = await run(await pythonWithSdk(), [SCRIPT, `127.0.0.1:${edge.port}`, 'host'], {
    timeout: 240_000,
    maxBuffer: 1 << 24,
  })
  results = new Map(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Result)
      .map((result) => [result.name, result]),
  )
}, 540_000)

afterAll(async () => {
  await edge?.dispose()
})

test.each(CHECKS)('Python SDK: %s', (name) => {
  const result = results.get(name)
  expect(result, 'the script ended before this check').toBeDefined()
  expect(result?.detail ?? '').toBe('')
  expect(result?.ok).toBe(true)
})

// The Python SDK as published on PyPI, in a virtual environment that is kept between runs.

import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'

const VERSION = '1.1.1'
const SCRIPT = join(import.meta.dirname, 'main_job.py')
const VENV = `/var/cache/opensandbox-test/python-sdk-${VERSION}`
const CHECKS = [...readFileSync(SCRIPT, 'utf8').matchAll(/^async def (check_\w+)/gm)].map(
  (match) => match[1] ?? '',
)

type Result = { name: string; ok: boolean; detail?: string }

const run = promisify(execFile)
let edge: Edge
let results: Map<string, Result>

beforeAll(async () => {
  if (!existsSync(join(VENV, 'complete'))) {
    await run('python3', ['-m', 'venv', '--clear', VENV], { timeout: 60_000 })
    await run(join(VENV, 'bin/pip'), ['install', '--quiet', `opensandbox==${VERSION}`], { timeout: 180_000 })
    await run('touch', [join(VENV, 'complete')])
  }
  edge = await startEdge()
  const { stdout } = await run(join(VENV, 'bin/python'), [SCRIPT, `127.0.0.1:${edge.port}`, 'host'], {
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

// The Kotlin SDK as published on Maven's central repository, unchanged, through every call that it has, from a program in Java.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { compileJava } from '../support/maven.ts'
import { type CheckResult, runProgramOfChecks } from '../support/python-checks.ts'

const FOLDER = join(import.meta.dirname, 'kotlin')
const API_KEY = 'conformance-key'
const CHECKS = [
  ...readFileSync(join(FOLDER, 'Surface.java'), 'utf8').matchAll(/^ {2}static void (check_\w+)/gm),
].map(([, name = '']) => name)

let edge: Edge
let results: Map<string, CheckResult>

beforeAll(async () => {
  const [started, program] = await Promise.all([
    startEdge({ env: { OPENSANDBOX_SERVER_API_KEY: API_KEY } }),
    compileJava(FOLDER, 'Surface'),
  ])
  edge = started
  using java = program
  const args = ['-cp', java.classPath, 'Surface', `127.0.0.1:${edge.port}`, API_KEY, CHECKS.join()]
  results = await runProgramOfChecks('java', args)
}, 540_000)

afterAll(async () => {
  await edge?.dispose()
})

test.each(CHECKS)('Kotlin SDK: %s', (name) => {
  const result = results.get(name)
  expect(result, 'the program ended before this check').toBeDefined()
  expect(result?.detail ?? '').toBe('')
  expect(result?.ok).toBe(true)
})

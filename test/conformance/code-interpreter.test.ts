// The published code-interpreter SDK, unchanged, against the kernels of a Jupyter server that the image brings.

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CODE_IMAGE_ENTRYPOINT, codeImage } from '../support/code-image.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { type CheckResult, checksOf, runChecks } from '../support/python-checks.ts'
import { pythonWith } from '../support/python-sdk.ts'

const SCRIPT = join(import.meta.dirname, 'code_interpreter_surface.py')

type Settings = {
  image: string
  entrypoint: string[] | null
  env: Record<string, string>
  engine: 'jupyter' | 'builtin'
  languages: string[]
}

const JUPYTER: Settings = {
  image: 'code',
  entrypoint: [CODE_IMAGE_ENTRYPOINT],
  env: { GREETING: 'hello' },
  engine: 'jupyter',
  languages: ['python', 'javascript', 'typescript', 'bash'],
}
let edge: Edge
let python: string
beforeAll(async () => {
  const image = await codeImage()
  python = await pythonWith('opensandbox-code-interpreter==1.1.1')
  edge = await startEdge({ config: `[runtime.images]\ncode = "${image}"\n` })
}, 900_000)
afterAll(async () => {
  await edge?.dispose()
}, 120_000)

describe.each([JUPYTER])('code-interpreter SDK 1.1.1, $engine', (settings) => {
  let results: Map<string, CheckResult>
  beforeAll(async () => {
    results = await runChecks(python, SCRIPT, [`127.0.0.1:${edge.port}`, JSON.stringify(settings)])
  }, 300_000)

  test.for(checksOf(SCRIPT))('%s', (name, context) => {
    const result = results.get(name)
    expect(result, 'the script ended before this check').toBeDefined()
    expect(result?.detail ?? '').toBe('')
    expect(result?.ok).toBe(true)
    if (result?.missing) context.skip('not in this image')
  })
})

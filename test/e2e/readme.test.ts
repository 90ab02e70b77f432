// The first sandbox of the README, as it is written there; only the port is another.

import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { pythonWithSdk } from '../support/python-sdk.ts'

const ROOT = join(import.meta.dirname, '../..')
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const run = promisify(execFile)

let edge: Edge
let folder: string

beforeAll(async () => {
  edge = await startEdge()
  folder = mkdtempSync(join(tmpdir(), 'readme-'))
})

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await edge?.dispose()
})

/** The first block of code below a heading. */
function snippet(heading: string, language: string): string {
  const section = README.slice(README.indexOf(`\n### ${heading}\n`))
  const code = new RegExp(`\`\`\`${language}\n([\\s\\S]+?)\`\`\``).exec(section)?.[1]
  expect(code, `the README has no ${language} below "${heading}"`).toBeDefined()
  return (code ?? '').replaceAll('8080', String(edge.port))
}

test('curl: the sandbox is made, and its web server answers at both URLs', async () => {
  const { stdout } = await run('bash', ['-c', snippet('curl', 'sh')])
  const { id } = JSON.parse(stdout) as { id: string }
  const answer = await run('curl', [
    '-s',
    '--retry',
    '5',
    '--retry-all-errors',
    '-f',
    `${edge.url}/sandboxes/${id}/proxy/8000/`,
  ])
  expect(answer.stdout).toContain('Directory listing')
  const byName = await run('curl', ['-s', `http://${id}-8000.localhost:${edge.port}/`])
  expect(byName.stdout).toContain('Directory listing')
})

test('Python: the program prints what ran in the sandbox', async () => {
  const file = join(folder, 'first.py')
  writeFileSync(file, snippet('Python', 'python'))
  const { stdout } = await run(await pythonWithSdk(), [file], { timeout: 60_000 })
  expect(stdout.trim()).toBe('Hello from /workspace/hello.py')
}, 240_000)

test('JavaScript: the program prints what ran in the sandbox', async () => {
  const file = join(folder, 'first.mjs')
  writeFileSync(file, snippet('JavaScript', 'js'))
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const { stdout } = await run(process.execPath, [file], { timeout: 60_000 })
  expect(stdout).toMatch(/^Hello from [0-9a-f-]{36}\n/)
})

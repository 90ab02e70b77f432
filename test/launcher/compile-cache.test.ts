import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

test('what Node makes of our files is kept beside the packages, or where somebody has said', () => {
  const folder = mkdtempSync(join(tmpdir(), 'compiled-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const chosen = join(folder, 'chosen')
  for (const env of [{}, { NODE_COMPILE_CACHE: chosen }])
    execFileSync(process.execPath, [join(ROOT, 'launcher/run.mjs'), 'egress/main.ts', '--help'], {
      env: { PATH: process.env.PATH, ...env },
    })
  expect(existsSync(join(ROOT, 'node_modules/.cache/compiled'))).toBe(true)
  expect(existsSync(chosen)).toBe(true)
})

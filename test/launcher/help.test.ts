// Asking for help starts nothing, whichever file is asked.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

test('the launcher says who lists its flags, and starts nothing', () => {
  const main = fileURLToPath(new URL('../../launcher/main.ts', import.meta.url))
  const { status, stderr } = spawnSync(process.execPath, [main, '--help'], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { PATH: process.env.PATH, HOME: '/nonexistent' },
  })
  expect([status, stderr]).toEqual([1, expect.stringContaining('npm start -- --help')])
})

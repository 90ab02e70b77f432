// What tests of files share: one execd for the whole test file, and an empty directory for each test.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { type Daemon, startDaemon } from '../daemon.ts'

export const isRoot = process.getuid?.() === 0

/** Starts an execd for the test file that calls it. `use` is told of it before each test, with the directory of that test. */
export function useWorkplace(use: (place: { execd: Daemon; dir: string }) => void): void {
  let execd: Daemon
  let count = 0
  beforeAll(async () => {
    execd = await startDaemon()
  })
  afterAll(() => execd?.[Symbol.asyncDispose]())
  beforeEach(() => {
    const dir = join(execd.workdir, `t${count++}`)
    mkdirSync(dir)
    use({ execd, dir })
  })
}

/** What a refusal says: its status and its code. */
export async function codeOf(response: Response): Promise<[number, string]> {
  return [response.status, ((await response.json()) as { code: string }).code]
}

// What tests of a kernel need of the machine. Without it they are skipped, each with the reason, so that a run says what it did not try.

import { execFileSync } from 'node:child_process'
import { beforeEach } from 'vitest'

/** Whether the programs are found on a path. */
export function hasPrograms(names: string[], path = process.env.PATH ?? ''): boolean {
  try {
    for (const name of names)
      execFileSync('sh', ['-c', 'command -v "$0"', name], { stdio: 'ignore', env: { PATH: path } })
    return true
  } catch {
    return false
  }
}

/** Skips the tests of the group that calls it, unless what they need is there. */
export function skipUnless(isThere: boolean, reason: string): void {
  beforeEach((context) => {
    if (!isThere) context.skip(reason)
  })
}

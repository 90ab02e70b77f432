// Programs of the machine, for tests that look at what lies on it.

import { execFileSync } from 'node:child_process'

export function outputOf(program: string, args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' })
}

/** Runs something that may find that it is too late. */
export function runMaybe(program: string, args: string[]): void {
  try {
    execFileSync(program, args, { stdio: 'ignore' })
  } catch {
    // What it was about has ended meanwhile; the checks tell what came of it.
  }
}

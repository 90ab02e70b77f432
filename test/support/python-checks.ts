// Scripts of checks, in Python and else: every function `check_…` prints one line of JSON with how it went.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'

export type CheckResult = {
  name: string
  ok: boolean
  detail?: string
  /** The installed version of the package has no such call. */
  missing?: true
}

const run = promisify(execFile)

/** The names of the checks in a script, in order. */
export function checksOf(script: string): string[] {
  return [...readFileSync(script, 'utf8').matchAll(/^async def (check_\w+)/gm)].map((match) => match[1] ?? '')
}

/** Runs all checks of a script; by name, how each went. */
export function runChecks(python: string, script: string, args: string[]): Promise<Map<string, CheckResult>> {
  return runProgramOfChecks(python, [script, ...args])
}

/** Runs a program in whatever language that prints such lines. */
export async function runProgramOfChecks(program: string, args: string[]): Promise<Map<string, CheckResult>> {
  const { stdout } = await run(program, args, { timeout: 240_000, maxBuffer: 1 << 24 })
  const results = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as CheckResult)
  return new Map(results.map((result) => [result.name, result]))
}

// Runs what fetches and unpacks images. When control is killed, they are too: what they write belongs to nobody then, and the next start
// removes it.

import { outputOf, type RunOptions, type RunProgram, runProgram } from '../../lib/run-program.ts'

const dyingWithUs: RunProgram = (program, args, options) =>
  runProgram('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], options)

/** What the program printed; rejects with ProgramError when it fails. */
export function toolOutput(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  return outputOf(program, args, { ...options, by: dyingWithUs })
}

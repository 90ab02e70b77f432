// Lists of what the kernel has, from programs that print them as JSON.

import type { RunProgram } from '../lib/run-program.ts'

/** What others change meanwhile can leave a program with nothing to say, or with half of it. */
const TRIES = 3

export type Listing<Value> =
  | { value: Value }
  /** It failed, and says this. */
  | { complaint: string }
  /** It did not, but what it has said so often is `nothing`, or cannot be read. */
  | { unreadable: string }

/** `whenEmpty` is what it means that nothing is said, where that means anything. */
export async function listAsJson<Value>(
  run: RunProgram,
  { program, args, whenEmpty }: { program: string; args: string[]; whenEmpty?: Value },
): Promise<Listing<Value>> {
  let said = ''
  for (let tries = 0; tries < TRIES; tries++) {
    const { code, stdout, stderr } = await run(program, args)
    if (code !== 0) return { complaint: stderr.trim() }
    said = stdout.trim()
    if (said === '' && whenEmpty !== undefined) return { value: whenEmpty }
    try {
      return { value: JSON.parse(said) as Value }
    } catch {
      // Asked again.
    }
  }
  return { unreadable: said === '' ? 'nothing' : `what cannot be read: ${JSON.stringify(said.slice(-200))}` }
}

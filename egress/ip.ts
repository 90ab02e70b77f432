// The `ip` program, for what must succeed.

import type { RunProgram } from '../lib/run-program.ts'

/** What it printed. Rejects with the command and its complaint. */
export async function mustIp(run: RunProgram, args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('ip', args)
  if (code !== 0) throw new Error(`Cannot set up the network: "ip ${args.join(' ')}" says: ${stderr.trim()}`)
  return stdout
}

// The `ip` program, for what must succeed.

import type { RunProgram } from '../lib/run-program.ts'

/** What it printed. Rejects with the command and its complaint. */
export async function mustIp(run: RunProgram, args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('ip', args)
  if (code !== 0) throw new Error(`Cannot set up the network: "ip ${args.join(' ')}" says: ${stderr.trim()}`)
  return stdout
}

/** What `ip -j …` lists; it says nothing at all where there is nothing. */
export async function askIp<Entry>(run: RunProgram, args: string[]): Promise<Entry[]> {
  return parseIpList<Entry>(await mustIp(run, ['-j', ...args]))
}

export function parseIpList<Entry>(text: string): Entry[] {
  return text.trim() === '' ? [] : (JSON.parse(text) as Entry[])
}

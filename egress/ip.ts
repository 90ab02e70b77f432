// The `ip` program, for what must succeed.

import type { RunProgram } from '../lib/run-program.ts'
import { listAsJson } from './list-as-json.ts'

/** What it printed. Rejects with the command and its complaint. */
export async function mustIp(run: RunProgram, args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('ip', args)
  if (code !== 0) throw new Error(`Cannot set up the network: "ip ${args.join(' ')}" says: ${stderr.trim()}`)
  return stdout
}

/** What `ip -j …` lists; it says nothing at all where there is nothing. Rejects with its complaint. */
export async function askIp<Entry>(run: RunProgram, args: string[]): Promise<Entry[]> {
  const { entries, complaint } = await list<Entry>(run, args)
  if (!entries) throw new Error(`Cannot set up the network: "ip -j ${args.join(' ')}" says: ${complaint}`)
  return entries
}

/** The same of what may not be there, of which it complains: undefined. */
export async function findIp<Entry>(run: RunProgram, args: string[]): Promise<Entry[] | undefined> {
  return (await list<Entry>(run, args)).entries
}

async function list<Entry>(
  run: RunProgram,
  args: string[],
): Promise<{ entries?: Entry[]; complaint?: string }> {
  const listed = await listAsJson<Entry[]>(run, { program: 'ip', args: ['-j', ...args], whenEmpty: [] })
  if ('value' in listed) return { entries: listed.value }
  if ('complaint' in listed) return listed
  throw new Error(`Cannot read the network of the host: "ip -j ${args.join(' ')}" says ${listed.unreadable}`)
}

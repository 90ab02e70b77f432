// The `ip` program, for what must succeed.

import type { RunProgram } from '../lib/run-program.ts'

/** What it printed. Rejects with the command and its complaint. */
export async function mustIp(run: RunProgram, args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('ip', args)
  if (code !== 0) throw new Error(`Cannot set up the network: "ip ${args.join(' ')}" says: ${stderr.trim()}`)
  return stdout
}

/** What others change meanwhile can leave a list without its end. */
const LIST_TRIES = 3

/** What `ip -j …` lists; it says nothing at all where there is nothing. */
export async function askIp<Entry>(run: RunProgram, args: string[]): Promise<Entry[]> {
  for (let tries = 1; ; tries++) {
    const text = await mustIp(run, ['-j', ...args])
    try {
      return parseIpList<Entry>(text)
    } catch (cause) {
      if (tries < LIST_TRIES) continue
      const what = `"ip -j ${args.join(' ')}" says what cannot be read: ${JSON.stringify(text.slice(-200))}`
      throw new Error(`Cannot read the network of the host: ${what}`, { cause })
    }
  }
}

function parseIpList<Entry>(text: string): Entry[] {
  return text.trim() === '' ? [] : (JSON.parse(text) as Entry[])
}

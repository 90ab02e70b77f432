// What must be so before egress starts.

import { systemCodeOf } from '../lib/errors.ts'
import { runProgram } from '../lib/run-program.ts'

const NEEDED = [
  { program: 'nft', args: ['list', 'tables'], from: 'nftables' },
  { program: 'ip', args: ['-V'], from: 'iproute2' },
] as const

/** Why this machine cannot filter the network of sandboxes; undefined when it can. */
export async function whyNoFilter(): Promise<string | undefined> {
  for (const { program, args, from } of NEEDED) {
    try {
      const { code, stderr } = await runProgram(program, args)
      if (code !== 0)
        return `Cannot filter the network of sandboxes: the kernel refuses "${program} ${args.join(' ')}": ${stderr.trim().split('\n')[0]}`
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw error
      return `Cannot filter the network of sandboxes without the program "${program}": install ${from}`
    }
  }
  return undefined
}

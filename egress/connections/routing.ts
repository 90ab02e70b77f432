// How the host's routing delivers a connection to egress that is meant for another address: a rule for the packets that nft has marked,
// and a table in which every address is the host's own.

import type { RunProgram } from '../../lib/run-program.ts'
import { mustIp } from '../ip.ts'

type Rule = { fwmark?: string; table?: string }

/** Before the host's own rules are asked (`main` is 32766). */
const PREFERENCE = '90'

/** The mark of an installation's packets, and the number of its routing table. `key` is four hexadecimal digits. */
export function markOf(key: string): number {
  return 0x0b5a_0000 + Number.parseInt(key, 16)
}

/** Doing it twice changes nothing. */
export async function openRouting(mark: number, run: RunProgram): Promise<void> {
  const table = String(mark)
  await mustIp(run, ['-4', 'route', 'replace', 'local', 'default', 'dev', 'lo', 'table', table])
  if (!(await hasRule(mark, run)))
    await mustIp(run, ['-4', 'rule', 'add', 'pref', PREFERENCE, 'fwmark', String(mark), 'table', table])
}

/** Fine when there is nothing to remove. */
export async function closeRouting(mark: number, run: RunProgram): Promise<void> {
  const table = String(mark)
  if (await hasRule(mark, run))
    await mustIp(run, ['-4', 'rule', 'delete', 'fwmark', String(mark), 'table', table])
  // A table that is empty is no table, which is an error to the program.
  await run('ip', ['-4', 'route', 'flush', 'table', table])
}

async function hasRule(mark: number, run: RunProgram): Promise<boolean> {
  const rules = JSON.parse(await mustIp(run, ['-j', '-4', 'rule', 'show'])) as Rule[]
  return rules.some(({ fwmark }) => fwmark !== undefined && Number(fwmark) === mark)
}

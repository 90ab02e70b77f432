// How the host's routing delivers a connection to egress that is meant for another address: a rule for the packets that nft has marked,
// and a table in which every address is the host's own.

import type { RunProgram } from '../../lib/run-program.ts'
import { askIp, findIp, mustIp } from '../ip.ts'

type Rule = { fwmark?: string; table?: string }

/** Before the host's own rules are asked (`main` is 32766). */
const PREFERENCE = '90'
const FAMILIES = ['-4', '-6'] as const

/** The mark of an installation's packets, and the number of its routing table. `key` is four hexadecimal digits. */
export function markOf(key: string): number {
  return 0x0b5a_0000 + Number.parseInt(key, 16)
}

/** `ipv6`: for its connections, too. Doing it twice changes nothing. */
export async function openRouting(
  mark: number,
  run: RunProgram,
  { ipv6 = false }: { ipv6?: boolean } = {},
): Promise<void> {
  const table = String(mark)
  for (const family of ipv6 ? FAMILIES : [FAMILIES[0]]) {
    await mustIp(run, [family, 'route', 'replace', 'local', 'default', 'dev', 'lo', 'table', table])
    if (!(await hasRule(family, mark, run)))
      await mustIp(run, [family, 'rule', 'add', 'pref', PREFERENCE, 'fwmark', String(mark), 'table', table])
  }
}

/** Fine when there is nothing to remove. */
export async function closeRouting(mark: number, run: RunProgram): Promise<void> {
  const table = String(mark)
  for (const family of FAMILIES) {
    if (await hasRule(family, mark, run))
      await mustIp(run, [family, 'rule', 'delete', 'fwmark', String(mark), 'table', table])
    // A table that is empty is no table, which is an error to the program.
    await run('ip', [family, 'route', 'flush', 'table', table])
  }
}

async function hasRule(family: string, mark: number, run: RunProgram): Promise<boolean> {
  // A kernel without IPv6 has no rules for it.
  const list = family === FAMILIES[1] ? findIp : askIp
  const rules = (await list<Rule>(run, [family, 'rule', 'show'])) ?? []
  return rules.some(({ fwmark }) => fwmark !== undefined && Number(fwmark) === mark)
}

// What egress costs when there are many sandboxes: a change of one policy, a sandbox that comes, a name that opens an address, the
// processor time of each, and memory.

import { measureOnMachine } from './egress-machine.ts'
import type { BenchRow } from './table.ts'

export const title = 'Egress with 500 sandboxes of 100 rules'

export function run(): Promise<BenchRow[]> {
  const programs = ['dnsmasq', 'nginx', 'python3', 'nft']
  return measureOnMachine(title, { world: 'egress-many-world.ts', programs })
}

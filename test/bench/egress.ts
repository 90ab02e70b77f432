// What egress costs: names, the set-up of connections, and TLS whose name is checked, beside dnsmasq, a veth pair with NAT and HAProxy in
// the same run.

import { measureOnMachine } from './egress-machine.ts'
import type { BenchRow } from './table.ts'

export const title = 'Egress, beside plain NAT, dnsmasq and HAProxy'

export function run(): Promise<BenchRow[]> {
  const programs = ['haproxy', 'dnsmasq', 'nginx', 'curl', 'python3', 'nft']
  return measureOnMachine('Egress', { world: 'egress-world.ts', programs })
}

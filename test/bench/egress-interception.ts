// What it costs to read TLS and put a secret into requests, beside HAProxy and mitmproxy that do the same, and beside nobody in between.
// Client, server and the program in the middle share few cores, so the fair figures are those by processor time: what one second of it
// does in the middle. mitmproxy takes part when there is a `mitmdump` to be found.

import { measureOnMachine } from './egress-machine.ts'
import type { BenchRow } from './table.ts'

export const title = 'Interception by egress, beside HAProxy terminating and encrypting again'

export function run(): Promise<BenchRow[]> {
  const programs = ['haproxy', 'nginx', 'curl', 'h2load', 'openssl', 'python3', 'nft', 'ss']
  return measureOnMachine('Interception', { world: 'interception-world.ts', programs })
}

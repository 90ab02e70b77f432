// What egress costs: names, the set-up of connections, and TLS whose name is checked, beside dnsmasq, a veth pair with NAT and HAProxy in
// the same run; and how a change of one policy goes when there are 500 sandboxes. On a machine of its own (test/system/egress/machine.ts).

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openMachine } from '../system/egress/machine.ts'
import { whatIsMissing } from './gateway-lab.ts'
import type { BenchRow } from './table.ts'

export const title = 'Egress, beside plain NAT, dnsmasq and HAProxy'

const RUN_MS = 600_000

export async function run(): Promise<BenchRow[]> {
  const missing =
    process.getuid?.() === 0
      ? whatIsMissing(['haproxy', 'dnsmasq', 'nginx', 'curl', 'python3', 'nft'])
      : 'root'
  if (missing !== undefined) {
    console.log(`Egress: not measured, as it needs ${missing}`)
    return []
  }
  const folder = mkdtempSync(join(tmpdir(), 'bench-egress-'))
  const machine = await openMachine('bench-egress')
  try {
    const world = join(import.meta.dirname, 'egress-world.ts')
    const child = machine.start(world, [machine.internet, folder], RUN_MS)
    const code = await new Promise((resolve) => child.once('exit', resolve))
    if (code !== 0) throw new Error(`The measurement ended with ${code}`)
    return JSON.parse(readFileSync(join(folder, 'rows.json'), 'utf8')) as BenchRow[]
  } finally {
    await machine.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

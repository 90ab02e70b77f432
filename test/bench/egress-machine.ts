// Measures on a machine of its own (test/system/egress/machine.ts): a program of ours runs there and leaves its rows in a file.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openMachine } from '../system/egress/machine.ts'
import { whatIsMissing } from './gateway-lab.ts'
import type { BenchRow } from './table.ts'

const RUN_MS = 900_000

/** `world` is a file of this folder that is called with the namespace of the internet and a folder, and writes rows.json there. */
export async function measureOnMachine(
  what: string,
  { world, programs }: { world: string; programs: readonly string[] },
): Promise<BenchRow[]> {
  const missing = process.getuid?.() === 0 ? whatIsMissing(programs) : 'root'
  if (missing !== undefined) {
    console.log(`${what}: not measured, as it needs ${missing}`)
    return []
  }
  const folder = mkdtempSync(join(tmpdir(), 'bench-egress-'))
  const machine = await openMachine('bench-egress')
  try {
    const child = machine.start(join(import.meta.dirname, world), [machine.internet, folder], RUN_MS)
    const code = await new Promise((resolve) => child.once('exit', resolve))
    if (code !== 0) throw new Error(`The measurement ended with ${code}`)
    return JSON.parse(readFileSync(join(folder, 'rows.json'), 'utf8')) as BenchRow[]
  } finally {
    await machine.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

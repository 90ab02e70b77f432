// Runs the suite, each runtime on a machine of its own (machine.ts), so that both can be tried at the same time.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { whyNoDocker } from '../../support/docker.ts'
import { openMachine } from './machine.ts'
import type { Outcome } from './outcome.ts'

export const ATTACKED = ['local', 'docker'] as const
export type Attacked = (typeof ATTACKED)[number]

const WORLD_MS = 540_000

/** Why a runtime cannot be attacked on this machine; undefined when it can. */
export function whyNotAttacked(runtime: Attacked): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  return runtime === 'docker' ? whyNoDocker() : undefined
}

/** The outcome of every case on this runtime. */
export async function attack(runtime: Attacked): Promise<Outcome[]> {
  const folder = mkdtempSync(join(tmpdir(), `attack-${runtime}-`))
  const machine = await openMachine(`attack-${runtime}`)
  try {
    const world = join(import.meta.dirname, 'world.ts')
    const child = machine.start(world, [runtime, machine.internet, folder], WORLD_MS)
    const code = await new Promise((resolve) => child.once('exit', resolve))
    if (code !== 0) throw new Error(`The attack on the ${runtime} runtime ended with ${code}`)
    return JSON.parse(readFileSync(join(folder, 'outcomes.json'), 'utf8')) as Outcome[]
  } finally {
    await machine.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

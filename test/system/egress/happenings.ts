// What happens to the product while it is attacked, and how it is known that it is whole again.

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { tableName } from '../../../egress/nft/rules.ts'
import { instanceOf } from '../../../lib/instance.ts'
import type { ProductClient } from './product.ts'
import type { World } from './world.ts'

const RESTART_MS = 30_000
const REPAIR_MS = 15_000

/** Resolves when a sandbox is in this state. */
export async function stateOf(product: ProductClient, id: string, wanted: string): Promise<void> {
  const deadline = performance.now() + 15_000
  while (performance.now() < deadline) {
    const { status } = (await product.call('GET', `/sandboxes/${id}`)) as { status: { state: string } }
    if (status.state === wanted) return
    await delay(20)
  }
  throw new Error(`Sandbox "${id}" is not ${wanted} in time`)
}

/** Resolves when the launcher has started another one, which holds its policies again. */
export async function endEgress({ edge, product, attacker }: World, signal: NodeJS.Signals): Promise<void> {
  await endProgram(edge.launcherPid, 'egress', signal, () =>
    product.call('GET', `/sandboxes/${attacker.id}/networkpolicy`),
  )
}

/** Resolves when the launcher has started another one, which answers. */
export async function endControl({ edge, product }: World): Promise<void> {
  await endProgram(edge.launcherPid, 'control', 'SIGTERM', () => product.call('GET', '/sandboxes'))
}

async function endProgram(
  launcher: number,
  program: 'egress' | 'control',
  signal: NodeJS.Signals,
  ask: () => Promise<unknown>,
): Promise<void> {
  const before = childOf(launcher, program)
  if (before !== undefined) process.kill(before, signal)
  const deadline = performance.now() + RESTART_MS
  while (performance.now() < deadline) {
    const now = childOf(launcher, program)
    if (now !== undefined && now !== before && (await ask().catch(() => undefined))) return
    await delay(20)
  }
  throw new Error(`The program "${program}" was not started again in time`)
}

/** Runs a program on the machine, as somebody else would. */
export async function runHere([program = '', ...args]: string[]): Promise<string> {
  return (await promisify(execFile)(program, args, { timeout: REPAIR_MS })).stdout
}

/** Resolves when the rules of a sandbox are there again, and its allowed name can be reached. */
export async function repaired({ edge, product }: World, id: string): Promise<void> {
  const deadline = performance.now() + REPAIR_MS
  const table = tableName(instanceOf(edge.dataDir).key)
  while (performance.now() < deadline) {
    const rules = await runHere(['nft', 'list', 'table', 'inet', table]).catch(() => '')
    if (rules.includes(id)) {
      const answer = await product.run(id, 'curl -s -o /dev/null -m 2 -w "%{http_code}" http://good.example/')
      if (answer.includes('200')) return
    }
    await delay(50)
  }
  throw new Error('The rules were not put back in time')
}

function childOf(launcher: number, program: string): number | undefined {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const isChild = new RegExp(`^PPid:\\s+${launcher}$`, 'm').test(
        readFileSync(`/proc/${name}/status`, 'utf8'),
      )
      if (isChild && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(`${program}/main.ts`))
        return Number(name)
    } catch {
      // It has ended meanwhile.
    }
  }
  return undefined
}

// Control of a whole product, killed by SIGKILL and started again by its launcher.

import { execFileSync } from 'node:child_process'
import { expect } from 'vitest'
import { type Edge, isAlive } from './edge.ts'

/** The process of control that runs now. */
export function controlPid(edge: Edge): number {
  const out = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(edge.launcherPid)], {
    encoding: 'utf8',
  })
  return Number(/^\s*(\d+) .*\/control\/main\.ts/m.exec(out)?.[1])
}

/** Kills it, and resolves once the next one answers. */
export async function killControl(edge: Edge, pid = controlPid(edge)): Promise<void> {
  process.kill(pid, 'SIGKILL')
  await expect.poll(() => isAlive(pid)).toBe(false)
  await expect.poll(() => controlPid(edge) !== pid && controlPid(edge) > 0).toBe(true)
  const status = async () => (await fetch(`${edge.url}/v1/sandboxes`)).status
  await expect.poll(status, { interval: 50 }).toBe(200)
}

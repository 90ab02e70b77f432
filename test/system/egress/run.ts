// Runs the suite, each runtime in a world of its own: a network namespace that stands for the machine, with the internet in a second one
// behind it, so that nothing of this machine is touched and the runtimes can be tried at the same time.

import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { whyNoDocker } from '../../support/docker.ts'
import { HOST } from './internet.ts'
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
  const machine = `attack-${runtime}-${process.pid}`
  const internet = `${machine}-out`
  const ip = (...args: string[]) => promisify(execFile)('ip', args, { timeout: 20_000 })
  try {
    for (const name of [machine, internet]) await ip('netns', 'add', name)
    await ip(
      'link',
      'add',
      'out',
      'netns',
      machine,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      internet,
    )
    const inside = (...args: string[]) => ip('-n', machine, ...args)
    await inside('link', 'set', 'lo', 'up')
    await inside('address', 'add', `${HOST}/24`, 'dev', 'out')
    await inside('-6', 'address', 'add', '2001:db8:a::1/64', 'dev', 'out', 'nodad')
    await inside('link', 'set', 'out', 'up')
    await inside('route', 'add', 'default', 'via', '203.0.113.10')
    await inside('-6', 'route', 'add', 'default', 'via', '2001:db8:a::10')
    const world = join(import.meta.dirname, 'world.ts')
    // Not by `ip netns exec`, which would hide the machine's cgroups.
    const child = spawn(
      'nsenter',
      [`--net=/run/netns/${machine}`, process.execPath, world, runtime, internet, folder],
      { stdio: ['ignore', 'inherit', 'inherit'], timeout: WORLD_MS },
    )
    const code = await new Promise((resolve) => child.once('exit', resolve))
    if (code !== 0) throw new Error(`The attack on the ${runtime} runtime ended with ${code}`)
    return JSON.parse(readFileSync(join(folder, 'outcomes.json'), 'utf8')) as Outcome[]
  } finally {
    for (const name of [machine, internet]) await ip('netns', 'delete', name).catch(() => undefined)
    rmSync(folder, { recursive: true, force: true })
  }
}

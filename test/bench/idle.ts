// Two hundred sandboxes that do nothing: what each holds, what they cost the programs around them, and how soon a paused one goes on.

import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { type Edge, startEdge } from '../support/edge.ts'
import { type BenchSandbox, createSandbox, privateMegabytes, removeSandbox } from './bench-sandbox.ts'
import { cpuSecondsOfProcess, privateBytesOfProcess, statFieldsOf } from './process-cost.ts'
import { median, repeat, timeOf } from './samples.ts'
import type { BenchRow } from './table.ts'

const SANDBOXES = 200
const AT_ONCE = 8
const SAMPLES = 10
const WATCHED_MS = 20_000
const RESUMES = 20

export const title = `${SANDBOXES} idle sandboxes`

export async function run(): Promise<BenchRow[]> {
  const edge = await startEdge()
  const made: BenchSandbox[] = []
  try {
    made.push(await createSandbox(edge))
    const alone = await watchPrograms(edge)
    let begun = made.length
    const lane = async () => {
      while (begun++ < SANDBOXES) made.push(await createSandbox(edge))
    }
    await Promise.all(Array.from({ length: AT_ONCE }, lane))
    const held = made
      .filter((_, at) => at % Math.ceil(SANDBOXES / SAMPLES) === 0)
      .map(({ id }) => privateMegabytes(edge, id))
    const full = await watchPrograms(edge)
    const resumes = await repeat(RESUMES, () => pauseAndTimeResume(edge, made[0]?.id ?? ''))
    return [
      { name: 'private memory of each, p50', unit: 'MB', ours: median(held), budget: { max: 25 } },
      ...(['control', 'egress', 'gateway'] as const).flatMap((name) => [
        {
          name: `memory of ${name} with ${made.length}`,
          unit: 'MB',
          ours: full[name].megabytes,
          peer: { name: 'with 1', value: alone[name].megabytes },
        },
        {
          name: `processor that ${name} uses with ${made.length}`,
          unit: '%',
          ours: full[name].percent,
          peer: { name: 'with 1', value: alone[name].percent },
        },
      ]),
      { name: 'resume, p50', unit: 'ms', ours: median(resumes), budget: { max: 50 } },
    ]
  } finally {
    const left = [...made]
    const lane = async () => {
      for (let next = left.pop(); next; next = left.pop()) await removeSandbox(edge, next)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, lane))
    await edge.dispose()
  }
}

async function pauseAndTimeResume(edge: Edge, id: string): Promise<number> {
  const change = async (what: string) => {
    const answer = await fetch(`${edge.url}/v1/sandboxes/${id}/${what}`, { method: 'POST' })
    if (!answer.ok) throw new Error(`${what}: ${answer.status} ${await answer.text()}`)
  }
  await change('pause')
  return await timeOf(() => change('resume'))
}

type Watched = Record<'control' | 'egress' | 'gateway', { megabytes: number; percent: number }>

/** What the three programs hold for themselves, and how busy they are while nobody asks them for anything. */
async function watchPrograms(edge: Edge): Promise<Watched> {
  const before = {
    control: find(edge, 'control'),
    egress: find(edge, 'egress'),
    gateway: find(edge, 'gateway'),
  }
  await delay(WATCHED_MS)
  const watched = (name: keyof Watched) => {
    const { pid, cpuSeconds } = before[name]
    return {
      megabytes: privateBytesOfProcess(pid) / 2 ** 20,
      percent: ((cpuSecondsOfProcess(pid) - cpuSeconds) * 1000 * 100) / WATCHED_MS,
    }
  }
  return { control: watched('control'), egress: watched('egress'), gateway: watched('gateway') }
}

function find(edge: Edge, name: string): { pid: string; cpuSeconds: number } {
  const pid = readdirSync('/proc').find((each) => {
    if (!/^\d+$/.test(each)) return false
    try {
      if (Number(statFieldsOf(each)[1]) !== edge.launcherPid) return false
      return readFileSync(`/proc/${each}/cmdline`, 'utf8').includes(`/${name}/main.ts`)
    } catch {
      return false // it ended while it was looked at
    }
  })
  if (pid === undefined) throw new Error(`There is no ${name} among the programs`)
  return { pid, cpuSeconds: cpuSecondsOfProcess(pid) }
}

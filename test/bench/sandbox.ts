// How long a user waits: from create to the first command's answer, for many sandboxes at once, for one command, and what
// an idle sandbox costs. The peers are Docker's engine with the same files as its image, and `runc exec`.

import { type Edge, startEdge } from '../support/edge.ts'
import {
  type BenchSandbox,
  createSandbox,
  exec,
  privateMegabytes,
  removeSandbox,
  runcRoot,
} from './bench-sandbox.ts'
import { startContainer, withDocker } from './docker.ts'
import { output } from './program.ts'
import { median, percentile, repeat, timeOf } from './samples.ts'
import type { BenchRow } from './table.ts'

const COLD_CREATES = 20
const BURST = 20
const LARGE_BURST = 50
const EXECS = 200

export const title = 'Sandboxes'

export async function run(): Promise<BenchRow[]> {
  const edge = await startEdge()
  try {
    const first = await createSandbox(edge)
    await exec(first)
    const cold = await repeat(COLD_CREATES, async () => {
      let sandbox: BenchSandbox | undefined
      const took = await timeOf(async () => {
        sandbox = await createSandbox(edge)
        await exec(sandbox)
      })
      if (sandbox) await removeSandbox(edge, sandbox)
      return took
    })
    const [burst, burstTook] = await manyAtOnce(edge, BURST)
    const memory = median(burst.map(({ id }) => privateMegabytes(edge, id)))
    await Promise.all(burst.map((sandbox) => removeSandbox(edge, sandbox)))
    const [large, largeTook] = await manyAtOnce(edge, LARGE_BURST)
    await Promise.all(large.map((sandbox) => removeSandbox(edge, sandbox)))
    const execs = await repeat(EXECS, () => timeOf(() => exec(first)))
    const runcExecs = await repeat(20, () =>
      timeOf(() => output('runc', ['--root', runcRoot(edge), 'exec', first.id, 'true'])),
    )
    const docker = await measureDocker()
    return [
      {
        name: 'create to first command, cold, p50',
        unit: 'ms',
        ours: median(cold),
        budget: { max: 100 },
        ...(docker ? { peer: { name: 'docker run + exec', value: docker.cold } } : {}),
      },
      {
        name: `${BURST} at once, all answered their first command`,
        unit: 'ms',
        ours: burstTook,
        budget: { max: 2500 },
        ...(docker ? { peer: { name: 'docker run + exec', value: docker.burst } } : {}),
      },
      {
        name: `${LARGE_BURST} at once, all answered their first command`,
        unit: 'ms',
        ours: largeTook,
        budget: { max: 4000 },
      },
      {
        name: 'exec of true, p50',
        unit: 'ms',
        ours: median(execs),
        budget: { max: 5 },
        peer: { name: 'runc exec', value: median(runcExecs) },
      },
      { name: 'exec of true, p99', unit: 'ms', ours: percentile(execs, 0.99) },
      { name: 'private memory of an idle sandbox', unit: 'MB', ours: memory, budget: { max: 25 } },
    ]
  } finally {
    await edge.dispose()
  }
}

/** So many asked for in one moment, and how long it takes until each has answered a command. */
async function manyAtOnce(edge: Edge, count: number): Promise<[BenchSandbox[], number]> {
  const made: BenchSandbox[] = []
  const took = await timeOf(() =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const sandbox = await createSandbox(edge)
        await exec(sandbox)
        made.push(sandbox)
      }),
    ),
  )
  return [made, took]
}

function measureDocker(): Promise<{ cold: number; burst: number } | undefined> {
  return withDocker(async (image) => {
    const ids: string[] = []
    const one = () =>
      timeOf(async () => {
        const id = await startContainer(image)
        ids.push(id)
        await output('docker', ['exec', id, 'true'])
      })
    const cold = await repeat(5, async () => {
      const took = await one()
      await output('docker', ['rm', '-f', ids.pop() ?? ''])
      return took
    })
    const burst = await timeOf(() => Promise.all(Array.from({ length: BURST }, one)))
    await output('docker', ['rm', '-f', ...ids])
    return { cold: median(cold), burst }
  })
}

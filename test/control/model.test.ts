// What control promises, held against what it does: random operations of clients and random faults on virtual time, over a
// runtime that outlives it (test/support/simulation). After each recovery, and whenever all is calm, rows and sandboxes agree in
// both directions; no change that was acknowledged is lost; no deadline is missed by more than two seconds; every answer and
// every event is one that the table of states allows; quotas count what there is; and nothing foreign was touched.
//
// OPENSANDBOX_MODEL_STEPS says how many steps, OPENSANDBOX_MODEL_SEED which; a failure prints both, and the shortest row of steps
// that shows it.

import { type ChildProcess, fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const PROGRAM = join(import.meta.dirname, '../fixtures/explore.ts')
const STEPS = Number(process.env.OPENSANDBOX_MODEL_STEPS ?? 10_000)
// The same steps for everybody, so that a red run is about a change; other seeds look further.
const SEED = Number(process.env.OPENSANDBOX_MODEL_SEED ?? 20_261_127)
const PROGRAMS = Math.min(availableParallelism(), 4)
const APART = 1_000_000

type Explored = { seed: number; steps: number; deaths: number; worstLatenessMs: number }

/** Explores in a process of its own, as time is not what it was in there. */
async function explore(seed: number, steps: number): Promise<Explored> {
  const child: ChildProcess = fork(PROGRAM, [String(seed), String(steps)], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
  const code = await new Promise((resolve) => child.once('close', resolve))
  expect(code, `OPENSANDBOX_MODEL_SEED=${SEED}: ${text}`).toBe(0)
  return JSON.parse(text) as Explored
}

test(
  `control keeps its promises through ${STEPS} random steps, from seed ${SEED}`,
  async () => {
    const explored = await Promise.all(
      Array.from({ length: PROGRAMS }, (_, at) => explore(SEED + at * APART, Math.ceil(STEPS / PROGRAMS))),
    )
    expect(explored.reduce((sum, { steps }) => sum + steps, 0)).toBeGreaterThanOrEqual(STEPS)
    // A simulation in which control never dies would prove little.
    expect(explored.reduce((sum, { deaths }) => sum + deaths, 0)).toBeGreaterThan(STEPS / 100)
  },
  Math.max(STEPS, 1000) * 60,
)

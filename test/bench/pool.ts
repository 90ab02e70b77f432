// How long a user waits for a sandbox that a pool keeps warm: from create to the first command's answer, beside one that is made
// when it is asked for.

import { type Edge, startEdge } from '../support/edge.ts'
import { type BenchSandbox, createSandbox, exec, removeSandbox } from './bench-sandbox.ts'
import { median, percentile, repeat, timeOf } from './samples.ts'
import type { BenchRow } from './table.ts'

const CLAIMS = 40
const COLD_CREATES = 10
const FILL_TIMEOUT_MS = 120_000
/** What `createSandbox` asks for. */
const SHAPE = { image: 'host', entrypoint: ['sleep', '600'], resourceLimits: { cpu: '2', memory: '512Mi' } }

export const title = 'Pools'

export async function run(): Promise<BenchRow[]> {
  const edge = await startEdge()
  try {
    const cold = await repeat(COLD_CREATES, () => firstCommand(edge))
    // From so many down to one nothing is made, so that claims alone are measured.
    await fill(edge, 'full', { bufferMin: 1, bufferMax: 2 * CLAIMS + 5, poolMin: 0, poolMax: 1000 })
    const creates: number[] = []
    const calls = await claims(edge, 'full', creates)
    await call(edge, 'DELETE', '/pools/full')
    await fill(edge, 'refilled', { bufferMin: 5, bufferMax: 5, poolMin: 0, poolMax: 1000 })
    const busy = await claims(edge, 'refilled')
    return [
      {
        name: 'claim to first command, p50',
        unit: 'ms',
        ours: median(calls),
        budget: { max: 15 },
        peer: { name: 'made when asked for', value: median(cold) },
      },
      { name: 'claim to first command, p99', unit: 'ms', ours: percentile(calls, 0.99) },
      { name: 'of which the claim and its endpoint, p50', unit: 'ms', ours: median(creates) },
      { name: 'claim to first command while the pool refills, p50', unit: 'ms', ours: median(busy) },
    ]
  } finally {
    await edge.dispose()
  }
}

/** Claims one after the other and removes them in the end, so that no removal stands beside a claim. */
async function claims(edge: Edge, pool: string, creates: number[] = []): Promise<number[]> {
  const claimed: BenchSandbox[] = []
  const took = await repeat(CLAIMS, () =>
    timeOf(async () => {
      const began = performance.now()
      const sandbox = await createSandbox(edge, { extensions: { poolRef: pool } })
      creates.push(performance.now() - began)
      claimed.push(sandbox)
      await exec(sandbox)
    }),
  )
  await Promise.all(claimed.map((sandbox) => removeSandbox(edge, sandbox)))
  return took
}

/** A sandbox made when it is asked for. */
async function firstCommand(edge: Edge): Promise<number> {
  let sandbox: BenchSandbox | undefined
  const took = await timeOf(async () => {
    sandbox = await createSandbox(edge)
    await exec(sandbox)
  })
  if (sandbox) await removeSandbox(edge, sandbox)
  return took
}

/** Makes a pool and waits until it has the middle of its buffer warm. */
async function fill(edge: Edge, name: string, capacitySpec: Record<string, number>): Promise<void> {
  await call(edge, 'POST', '/pools', { name, template: SHAPE, capacitySpec })
  const wanted = Math.floor(((capacitySpec.bufferMin ?? 0) + (capacitySpec.bufferMax ?? 0)) / 2)
  const deadline = performance.now() + FILL_TIMEOUT_MS
  for (;;) {
    const { status } = (await call(edge, 'GET', `/pools/${name}`)) as { status: { available: number } }
    if (status.available >= wanted) return
    if (performance.now() > deadline)
      throw new Error(`Pool "${name}" has ${status.available} of ${wanted} warm: ${JSON.stringify(status)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function call(edge: Edge, method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(`${edge.url}/v1${path}`, {
    method,
    ...(body !== undefined && {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

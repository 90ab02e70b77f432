// Both runtimes in one table, on the same image and beside `docker run` of it with nothing added, on a daemon with the settings that it
// has by itself.

import { startDocker, whyNoDocker } from '../support/docker.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { debianTarball } from '../support/images.ts'
import { type BenchSandbox, createSandbox, exec, removeSandbox } from './bench-sandbox.ts'
import { withDocker } from './docker.ts'
import { output } from './program.ts'
import { median, repeat, timeOf } from './samples.ts'
import type { BenchRow } from './table.ts'

const CREATES = 12
const BURST = 20
const CLAIMS = 20
const PAUSES = 20
const FILL_TIMEOUT_MS = 120_000
const IMAGE = { image: { uri: 'debian' } }

export const title = 'Runtimes'

type Figures = { cold: number; burst: number; claim: number; pause: number; resume: number }

export async function run(): Promise<BenchRow[]> {
  const config = `[runtime.images]\ndebian = ${JSON.stringify(debianTarball())}\n`
  const local = await measure(await startEdge({ config }))
  if (whyNoDocker() !== undefined) return rowsOf('local', local)
  const docker = await measureDocker(config)
  const peer = await withDocker(measurePeer)
  const budget = peer && { cold: Math.round(peer.cold * 1.15), burst: Math.round(peer.burst) }
  return [...rowsOf('local', local, peer), ...rowsOf('docker', docker, peer, budget)]
}

async function measureDocker(config: string): Promise<Figures> {
  const docker = await startDocker()
  try {
    const options = { config, args: ['--runtime', 'docker'], env: { DOCKER_HOST: docker.host } }
    return await measure(await startEdge(options))
  } finally {
    await docker.dispose()
  }
}

function rowsOf(
  name: string,
  { cold, burst, claim, pause, resume }: Figures,
  peer?: { cold: number; burst: number },
  budget: { cold?: number; burst?: number } = {},
): BenchRow[] {
  const row = (what: string, ours: number, key?: 'cold' | 'burst', max = key && budget[key]): BenchRow => ({
    name: `${name}: ${what}`,
    unit: 'ms',
    ours,
    ...(max !== undefined && { budget: { max } }),
    ...(peer && key && { peer: { name: 'docker run', value: peer[key] } }),
  })
  return [
    row('create to first command, p50', cold, 'cold'),
    row(`${BURST} at once, all answered their first command`, burst, 'burst'),
    row('claim from a pool to its answer, p50', claim, undefined, 20),
    row('pause, p50', pause),
    row('resume, p50', resume, undefined, 50),
  ]
}

async function measure(edge: Edge): Promise<Figures> {
  try {
    const first = await createSandbox(edge, IMAGE)
    await exec(first)
    const cold = await repeat(CREATES, async () => {
      const made: BenchSandbox[] = []
      const took = await timeOf(async () => made.push(await firstCommand(edge)))
      await removeAll(edge, made)
      return took
    })
    const many: BenchSandbox[] = []
    const burst = await timeOf(() =>
      Promise.all(Array.from({ length: BURST }, async () => many.push(await firstCommand(edge)))),
    )
    await removeAll(edge, many)
    const pauses: number[] = []
    const resumes = await repeat(PAUSES, async () => {
      pauses.push(await timeOf(() => call(edge, 'POST', `/sandboxes/${first.id}/pause`)))
      return await timeOf(() => call(edge, 'POST', `/sandboxes/${first.id}/resume`))
    })
    await removeAll(edge, [first])
    return {
      cold: median(cold),
      burst,
      claim: median(await measureClaims(edge)),
      pause: median(pauses),
      resume: median(resumes),
    }
  } finally {
    await edge.dispose()
  }
}

async function firstCommand(edge: Edge): Promise<BenchSandbox> {
  const sandbox = await createSandbox(edge, IMAGE)
  await exec(sandbox)
  return sandbox
}

async function removeAll(edge: Edge, sandboxes: BenchSandbox[]): Promise<void> {
  await Promise.all(sandboxes.map((sandbox) => removeSandbox(edge, sandbox)))
}

/** Claims from a pool that is not filled again meanwhile. */
async function measureClaims(edge: Edge): Promise<number[]> {
  const template = {
    image: 'debian',
    entrypoint: ['sleep', '600'],
    resourceLimits: { cpu: '2', memory: '512Mi' },
  }
  const capacitySpec = { bufferMin: CLAIMS, bufferMax: CLAIMS, poolMin: 0, poolMax: CLAIMS }
  await call(edge, 'POST', '/pools', { name: 'bench', template, capacitySpec })
  const deadline = performance.now() + FILL_TIMEOUT_MS
  for (;;) {
    const { status } = (await call(edge, 'GET', '/pools/bench')) as { status: { available: number } }
    if (status.available >= CLAIMS) break
    if (performance.now() > deadline) throw new Error(`The pool has ${status.available} of ${CLAIMS}`)
  }
  const claimed: string[] = []
  const took = await repeat(CLAIMS, () =>
    timeOf(async () => {
      const { id } = (await call(edge, 'POST', '/sandboxes', {
        timeout: 600,
        extensions: { poolRef: 'bench' },
      })) as { id: string }
      claimed.push(id)
    }),
  )
  await call(edge, 'DELETE', '/pools/bench')
  await Promise.all(claimed.map((id) => call(edge, 'DELETE', `/sandboxes/${id}`)))
  return took
}

async function measurePeer(image: string): Promise<{ cold: number; burst: number }> {
  const one = () => output('docker', ['run', '--rm', image, 'true'])
  await one()
  return {
    cold: median(await repeat(CREATES, () => timeOf(one))),
    burst: await timeOf(() => Promise.all(Array.from({ length: BURST }, one))),
  }
}

async function call(edge: Edge, method: string, path: string, body?: object): Promise<unknown> {
  const answer = await fetch(`${edge.url}/v1${path}`, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(60_000),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

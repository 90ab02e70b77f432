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
/** How many are made at once, and how long a user may wait for them on the local runtime. */
const BURSTS = [{ count: 20 }, { count: 50, maxMs: 4000 }] as const
/** How long a user may wait for one. */
const COLD_MAX_MS = 100
const CLAIMS = 20
const PAUSES = 20
const FILL_TIMEOUT_MS = 120_000
const IMAGE = { image: { uri: 'debian' } }

export const title = 'Runtimes'

/** What `docker run` can be asked for, too. */
type Creates = { cold: number; bursts: number[] }
type Figures = Creates & { claim: number; pause: number; resume: number }

export async function run(): Promise<BenchRow[]> {
  const config = `[runtime.images]\ndebian = ${JSON.stringify(debianTarball())}\n`
  const local = await measure(await startEdge({ config }))
  const wanted = {
    cold: COLD_MAX_MS,
    bursts: BURSTS.map((burst) => ('maxMs' in burst ? burst.maxMs : undefined)),
  }
  if (whyNoDocker() !== undefined) return rowsOf('local', local, { budget: wanted })
  const docker = await measureDocker(config)
  const peer = await withDocker(measurePeer)
  const budget = peer && { cold: Math.round(peer.cold * 1.15), bursts: peer.bursts.map(Math.round) }
  return [...rowsOf('local', local, { peer, budget: wanted }), ...rowsOf('docker', docker, { peer, budget })]
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

type Beside = {
  peer?: Creates | undefined
  budget?: { cold: number; bursts: (number | undefined)[] } | undefined
}

function rowsOf(name: string, ours: Figures, { peer, budget }: Beside): BenchRow[] {
  const row = (
    what: string,
    value: number,
    beside: { peer?: number | undefined; max?: number | undefined } = {},
  ): BenchRow => ({
    name: `${name}: ${what}`,
    unit: 'ms',
    ours: value,
    ...(beside.max !== undefined && { budget: { max: beside.max } }),
    ...(beside.peer !== undefined && { peer: { name: 'docker run', value: beside.peer } }),
  })
  return [
    row('create to first command, p50', ours.cold, { peer: peer?.cold, max: budget?.cold }),
    ...BURSTS.map(({ count }, at) =>
      row(`${count} at once, all answered their first command`, ours.bursts[at] ?? Number.NaN, {
        peer: peer?.bursts[at],
        max: budget?.bursts[at],
      }),
    ),
    row('claim from a pool to its answer, p50', ours.claim, { max: 20 }),
    row('pause, p50', ours.pause),
    row('resume, p50', ours.resume, { max: 50 }),
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
    const bursts: number[] = []
    for (const { count } of BURSTS) {
      const many: BenchSandbox[] = []
      bursts.push(await timeOf(() => atOnce(count, async () => many.push(await firstCommand(edge)))))
      await removeAll(edge, many)
    }
    const pauses: number[] = []
    const resumes = await repeat(PAUSES, async () => {
      pauses.push(await timeOf(() => call(edge, 'POST', `/sandboxes/${first.id}/pause`)))
      return await timeOf(() => call(edge, 'POST', `/sandboxes/${first.id}/resume`))
    })
    await removeAll(edge, [first])
    return {
      cold: median(cold),
      bursts,
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

async function measurePeer(image: string): Promise<Creates> {
  const one = () => output('docker', ['run', '--rm', image, 'true'])
  await one()
  const cold = median(await repeat(CREATES, () => timeOf(one)))
  const bursts: number[] = []
  for (const { count } of BURSTS) bursts.push(await timeOf(() => atOnce(count, one)))
  return { cold, bursts }
}

async function atOnce(count: number, act: () => Promise<unknown>): Promise<void> {
  await Promise.all(Array.from({ length: count }, act))
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

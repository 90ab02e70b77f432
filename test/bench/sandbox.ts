// How long a user waits: from create to the first command's answer, for twenty sandboxes at once, for one command, and what
// an idle sandbox costs. The peers are Docker's engine with the same files as its image, and `runc exec`.

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { instanceOf } from '../../lib/instance.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import type { BenchRow } from './table.ts'

const COLD_CREATES = 20
const BURST = 20
const EXECS = 200
const IMAGE_FILE = '/var/cache/opensandbox-test/debian.tar'

type Sandbox = { id: string; execd: string; headers: Record<string, string> }

export const title = 'Sandboxes'

export async function run(): Promise<BenchRow[]> {
  const edge = await startEdge()
  try {
    const first = await createSandbox(edge)
    await exec(first)
    const cold = await repeat(COLD_CREATES, async () => {
      const startedAt = performance.now()
      const sandbox = await createSandbox(edge)
      await exec(sandbox)
      const took = performance.now() - startedAt
      await remove(edge, sandbox)
      return took
    })
    const burstStartedAt = performance.now()
    const burst = await Promise.all(
      Array.from({ length: BURST }, async () => {
        const sandbox = await createSandbox(edge)
        await exec(sandbox)
        return sandbox
      }),
    )
    const burstTook = performance.now() - burstStartedAt
    const memory = median(burst.map(({ id }) => privateMegabytes(edge, id)))
    await Promise.all(burst.map((sandbox) => remove(edge, sandbox)))
    const execs = await repeat(EXECS, async () => {
      const startedAt = performance.now()
      await exec(first)
      return performance.now() - startedAt
    })
    const runcRoot = join(instanceOf(edge.dataDir).runDir, 'runc')
    const runcExecs = await repeat(20, async () =>
      timeCommand('runc', ['--root', runcRoot, 'exec', first.id, 'true']),
    )
    const docker = await measureDocker()
    return [
      {
        name: 'create to first command, cold, p50',
        unit: 'ms',
        ours: median(cold),
        budget: { max: 120 },
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

async function createSandbox(edge: Edge): Promise<Sandbox> {
  const created = await call(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      image: { uri: 'host' },
      entrypoint: ['sleep', '600'],
      resourceLimits: { cpu: '2', memory: '512Mi' },
      timeout: 600,
    }),
  })
  const { id } = (await created.json()) as { id: string }
  const found = await call(`${edge.url}/v1/sandboxes/${id}/endpoints/44772`)
  const { endpoint, headers } = (await found.json()) as { endpoint: string; headers: Record<string, string> }
  return { id, execd: `http://${endpoint}`, headers }
}

async function exec({ execd, headers }: Sandbox): Promise<void> {
  const response = await call(`${execd}/command`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ command: 'true' }),
  })
  const text = await response.text()
  if (!text.includes('execution_complete')) throw new Error(`The command did not complete: ${text}`)
}

async function remove(edge: Edge, { id }: Sandbox): Promise<void> {
  await call(`${edge.url}/v1/sandboxes/${id}`, { method: 'DELETE' })
}

async function call(url: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(30_000) })
  if (!response.ok)
    throw new Error(`${init.method ?? 'GET'} ${url}: ${response.status} ${await response.text()}`)
  return response
}

/** What our own processes in the sandbox hold for themselves: everything in its process namespace but the entrypoint. */
function privateMegabytes(edge: Edge, id: string): number {
  const runcRoot = join(instanceOf(edge.dataDir).runDir, 'runc')
  const state = JSON.parse(execFileSync('runc', ['--root', runcRoot, 'state', id], { encoding: 'utf8' })) as {
    pid: number
  }
  const namespace = readlinkSync(`/proc/${state.pid}/ns/pid`)
  let kilobytes = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/pid`) !== namespace) continue
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/opt/opensandbox/')) continue
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
      for (const match of rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB/gm))
        kilobytes += Number(match[1])
    } catch {
      // a process that ended while it was looked at holds nothing
    }
  }
  return kilobytes / 1024
}

async function measureDocker(): Promise<{ cold: number; burst: number } | undefined> {
  if (!existsSync(IMAGE_FILE)) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'bench-docker-'))
  const own = !existsSync('/var/run/docker.sock')
  const daemon = own
    ? spawn(
        'dockerd',
        ['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '-p', join(folder, 'pid')],
        { stdio: 'ignore' },
      )
    : undefined
  let failed = false
  daemon?.on('error', () => {
    failed = true
  })
  try {
    const deadline = performance.now() + 20_000
    while (!dockerAnswers()) {
      if (failed || performance.now() > deadline) return undefined
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    execFileSync('docker', ['import', IMAGE_FILE, 'opensandbox-bench'], { stdio: 'ignore' })
    const one = async () => {
      const startedAt = performance.now()
      const id = (await output('docker', ['run', '-d', '--init', 'opensandbox-bench', 'sleep', '600'])).trim()
      await output('docker', ['exec', id, 'true'])
      return { id, took: performance.now() - startedAt }
    }
    const cold = await repeat(5, async () => {
      const { id, took } = await one()
      await output('docker', ['rm', '-f', id])
      return took
    })
    const startedAt = performance.now()
    const burst = await Promise.all(Array.from({ length: BURST }, one))
    const burstTook = performance.now() - startedAt
    await output('docker', ['rm', '-f', ...burst.map(({ id }) => id)])
    await output('docker', ['rmi', 'opensandbox-bench'])
    return { cold: median(cold), burst: burstTook }
  } finally {
    if (daemon && !failed) {
      const ended = new Promise((resolve) => daemon.on('exit', resolve))
      daemon.kill('SIGTERM')
      await ended
    }
    rmSync(folder, { recursive: true, force: true })
  }
}

function dockerAnswers(): boolean {
  try {
    execFileSync('docker', ['version'], { stdio: 'ignore', timeout: 5000 })
    return true
  } catch {
    return false // not yet, or no Docker here
  }
}

async function timeCommand(program: string, args: string[]): Promise<number> {
  const startedAt = performance.now()
  await output(program, args)
  return performance.now() - startedAt
}

function output(program: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 })
    let text = ''
    let errors = ''
    child.stdout.on('data', (chunk) => {
      text += chunk
    })
    child.stderr.on('data', (chunk) => {
      errors += chunk
    })
    child.on('error', reject)
    child.on('close', (code) =>
      code === 0 ? resolve(text) : reject(new Error(`${program} ${args[0]}: ${errors}`)),
    )
  })
}

async function repeat(times: number, measure: () => Promise<number>): Promise<number[]> {
  const samples: number[] = []
  for (let n = 0; n < times; n++) samples.push(await measure())
  return samples
}

function percentile(samples: number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

const median = (samples: number[]) => percentile(samples, 0.5)

// What the daemon inside a sandbox costs and how fast it answers, one function per figure. The peers are `docker exec` and
// `runc exec`, each in a container that runs already. OPENSANDBOX_BENCH_COMMANDS says over how many commands growth is measured.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BootFile, EXCHANGE_DIR, GUEST_COMMAND_FILE, GUEST_DIR } from '../../lib/api/guest.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import {
  type BenchSandbox,
  createSandbox,
  exec,
  privateMegabytes,
  removeSandbox,
  runcRoot,
  startExec,
} from './bench-sandbox.ts'
import { startContainer, withDocker } from './docker.ts'
import { output } from './program.ts'
import { median, percentile, repeat, timeOf } from './samples.ts'
import type { BenchRow } from './table.ts'

const PER_SECOND = 10
const PACED = 100
const PEER_EXECS = 30
const STARTS = 20
const AT_ONCE = 4
const DEFAULT_COMMANDS = 20_000
/** After these the code is compiled and the tables of what has ended are full. */
const WARM_UP = 3000
const FIRST_BYTES = 100

type Bench = { edge: Edge; sandbox: BenchSandbox; docker: DockerFigures | undefined }
type DockerFigures = { execs: number[]; perSecond: number }

/** Every figure, in the order of the table; a function may give several rows. */
const FIGURES: ((bench: Bench) => Promise<BenchRow[]>)[] = [
  idleMemory,
  pacedCommands,
  firstByte,
  sustainedCommandsAndGrowth,
  start,
]

export const title = 'The daemon inside a sandbox'

export async function run(): Promise<BenchRow[]> {
  const docker = await withDocker(measureDocker)
  const edge = await startEdge()
  try {
    // One core, as the figures are for.
    const sandbox = await createSandbox(edge, {
      resourceLimits: { cpu: '1', memory: '512Mi' },
      entrypoint: ['sleep', '7200'],
      timeout: 7200,
    })
    const rows: BenchRow[] = []
    for (const figure of FIGURES) rows.push(...(await figure({ edge, sandbox, docker })))
    await removeSandbox(edge, sandbox)
    return rows
  } finally {
    await edge.dispose()
  }
}

async function idleMemory({ edge }: Bench): Promise<BenchRow[]> {
  const idle = await createSandbox(edge)
  await exec(idle)
  // With another one beside it, as what all of them share belongs to none.
  const ours = privateMegabytes(edge, idle.id)
  await removeSandbox(edge, idle)
  return [{ name: 'private memory after one command', unit: 'MB', ours, budget: { max: 25 } }]
}

async function pacedCommands({ edge, sandbox, docker }: Bench): Promise<BenchRow[]> {
  await repeat(PER_SECOND, () => timeOf(() => exec(sandbox)))
  const execs: number[] = []
  const began = performance.now()
  for (let n = 0; n < PACED; n++) {
    await untilTime(began + (n * 1000) / PER_SECOND)
    execs.push(await timeOf(() => exec(sandbox)))
  }
  const runc = await repeat(PEER_EXECS, () =>
    timeOf(() => output('runc', ['--root', runcRoot(edge), 'exec', sandbox.id, 'true'])),
  )
  const dockerPeer = (share: number) =>
    docker && { peer: { name: 'docker exec', value: percentile(docker.execs, share) } }
  return [
    {
      name: `exec of true, ${PER_SECOND} a second, p50`,
      unit: 'ms',
      ours: median(execs),
      budget: { max: 5 },
      ...dockerPeer(0.5),
    },
    {
      name: `exec of true, ${PER_SECOND} a second, p99`,
      unit: 'ms',
      ours: percentile(execs, 0.99),
      budget: { max: 15 },
      ...dockerPeer(0.99),
    },
    {
      name: 'exec of true, beside runc, p50',
      unit: 'ms',
      ours: median(execs),
      peer: { name: 'runc exec', value: median(runc) },
    },
  ]
}

/** From the moment before a shell writes a line until a client has it: both clocks are this machine's. */
async function firstByte({ sandbox }: Bench): Promise<BenchRow[]> {
  const command = `for n in $(seq ${FIRST_BYTES}); do echo "at $EPOCHREALTIME"; sleep 0.02; done`
  const response = await startExec(sandbox, command)
  const delays: number[] = []
  for await (const chunk of response.body ?? []) {
    const now = performance.timeOrigin + performance.now()
    for (const [, seconds] of Buffer.from(chunk)
      .toString()
      .matchAll(/at (\d+[.,]\d+)/g))
      delays.push(now - Number(seconds?.replace(',', '.')) * 1000)
  }
  return [
    { name: 'from written to received, p50', unit: 'ms', ours: median(delays), budget: { max: 2 } },
    { name: 'from written to received, p99', unit: 'ms', ours: percentile(delays, 0.99) },
  ]
}

async function sustainedCommandsAndGrowth({ edge, sandbox, docker }: Bench): Promise<BenchRow[]> {
  const commands = Number(process.env.OPENSANDBOX_BENCH_COMMANDS ?? DEFAULT_COMMANDS)
  await runMany(sandbox, WARM_UP)
  const before = privateMegabytes(edge, sandbox.id)
  const took = await timeOf(() => runMany(sandbox, commands))
  const growth = privateMegabytes(edge, sandbox.id) - before
  return [
    {
      name: `commands a second, ${AT_ONCE} at once, on one core`,
      unit: '1/s',
      ours: (commands / took) * 1000,
      budget: { min: 200 },
      ...(docker ? { peer: { name: 'docker exec', value: docker.perSecond } } : {}),
    },
    { name: `growth over ${commands} commands`, unit: 'MB', ours: growth, budget: { max: 5 } },
  ]
}

/** execd alone, from the start of its process to its ready file, with the boot file there already. */
async function start({ edge }: Bench): Promise<BenchRow[]> {
  const starts = await repeat(STARTS, () => startOnce(join(edge.dataDir, 'guest')))
  return [{ name: 'start of execd, p50', unit: 'ms', ours: median(starts), budget: { max: 60 } }]
}

async function startOnce(guestDirs: string): Promise<number> {
  const [name = ''] = readdirSync(guestDirs).filter((entry) => !entry.startsWith('.'))
  const guest = join(guestDirs, name)
  const dir = mkdtempSync(join(tmpdir(), 'bench-execd-'))
  const exchange = join(dir, 'exchange')
  mkdirSync(exchange)
  const boot: BootFile = {
    token: 'bench',
    host: '127.0.0.1',
    port: 0,
    entrypoint: ['sleep', '600'],
    env: { PATH: '/usr/bin:/bin' },
    workdir: join(dir, 'work'),
    stopGraceMs: 0,
  }
  writeFileSync(join(exchange, 'boot.json'), JSON.stringify(boot))
  const inGuest = JSON.parse(readFileSync(join(guest, GUEST_COMMAND_FILE), 'utf8')) as string[]
  // Behind the init and the script that keeps execd running.
  const command = inGuest
    .slice(inGuest.indexOf(EXCHANGE_DIR) + 1)
    .map((argument) =>
      argument.startsWith(GUEST_DIR) ? join(guest, argument.slice(GUEST_DIR.length)) : argument,
    )
  const child = spawn(command[0] ?? '', [...command.slice(1), '--exchange-dir', exchange], {
    stdio: 'ignore',
    env: {},
  })
  const ended = once(child, 'exit')
  const took = await timeOf(async () => {
    while (!existsSync(join(exchange, 'ready.json'))) await new Promise((resolve) => setImmediate(resolve))
  })
  child.kill('SIGTERM')
  await ended
  rmSync(dir, { recursive: true, force: true })
  return took
}

async function measureDocker(image: string): Promise<DockerFigures> {
  const id = await startContainer(image)
  const one = () => output('docker', ['exec', id, 'true'])
  await one()
  const execs = await repeat(PEER_EXECS, () => timeOf(one))
  const took = await timeOf(() =>
    Promise.all(Array.from({ length: AT_ONCE }, () => repeat(PEER_EXECS, () => timeOf(one)))),
  )
  await output('docker', ['rm', '-f', id])
  return { execs, perSecond: (AT_ONCE * PEER_EXECS * 1000) / took }
}

async function runMany(sandbox: BenchSandbox, commands: number): Promise<void> {
  let left = commands
  const one = async () => {
    while (left-- > 0) await exec(sandbox)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, one))
}

function untilTime(at: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, at - performance.now())))
}

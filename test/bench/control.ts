// The control plane with 10,000 live sandboxes: what a request costs, how many creates it takes in, what a look at everything
// and the removal of old events hold up. The database is a file, as in use, and its log is taken into it as in use. Runtimes are
// in memory; the last figure alone is of the real one.
//
// A machine that does other things meanwhile is slow for all: a figure is read beside its peer of the same run.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'
import type { RuntimeSandbox } from '../../control/runtime/runtime.ts'
import { reconcile } from '../../control/sandbox/reconcile.ts'
import { Checkpointer } from '../../control/store/checkpointer.ts'
import { Store } from '../../control/store/sqlite.ts'
import { shortenWal, tidy, type UpkeepDeps } from '../../control/upkeep/upkeep.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { type Serving, serve } from '../../lib/serve.ts'
import { type ControlApp, createControlApp, MIGRATIONS } from '../support/control-app.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { createFakeRuntime } from '../support/fake-runtime.ts'
import { sandboxRow } from '../support/sandbox-row.ts'
import { createSandbox, removeSandbox } from './bench-sandbox.ts'
import type { Load } from './load-worker.ts'
import { output } from './program.ts'
import { median, percentile, repeat, timeOf } from './samples.ts'
import type { BenchRow } from './table.ts'

const ROWS = 10_000
const ROUNDS = 300
const CREATES = 2000
const LANES = 32
/** Of a day of 10,000 sandboxes that live for half an hour: made, started, stopped, gone. */
const EVENTS = 500_000
const SHELL_ROUNDS = 200

export const title = `Control with ${ROWS} sandboxes`

export async function run(): Promise<BenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-control-'))
  const path = join(folder, 'control.db')
  const store = new Store({ path, migrationsDir: MIGRATIONS })
  const runtime = createFakeRuntime(fill(store))
  const control = createControlApp({ store, runtime })
  const checkpointer = new Checkpointer(path)
  const upkeep: UpkeepDeps = {
    database: store.database,
    retention: { events: 0, endedSandboxes: 0, audit: 0, idempotency: 0 },
    checkpointer,
    log: createSilentLogger(),
    now: Date.now,
    random: Math.random,
    signal: control.lives.signal,
  }
  const over = new AbortController()
  const api = await listen(control, over.signal)
  try {
    return [
      ...(await requests(api.port, path)),
      ...(await creates(control, api.port, upkeep)),
      ...(await passes(control)),
      ...(await pruning(store, upkeep)),
      ...(await loopWhileCreating()),
    ]
  } finally {
    over.abort()
    await api.closed
    await control.close().catch(() => undefined)
    await checkpointer[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Rows as they are after days of use, and what the runtime would say of them. */
function fill(store: Store): Map<string, RuntimeSandbox> {
  const sandboxes = new Map<string, RuntimeSandbox>()
  store.database.transact(() => {
    for (let at = 0; at < ROWS; at++) {
      const id = `s${String(at).padStart(15, '0')}`
      const isPaused = at % 10 === 0
      const address = `10.88.${at >> 8}.${at & 255}`
      store.insert(
        sandboxRow({
          id,
          state: isPaused ? 'Paused' : 'Running',
          acknowledged: true,
          metadata: { team: `team-${at % 100}`, purpose: 'bench', run: `r${at}` },
          entrypoint: ['tail', '-f', '/dev/null'],
          limits: { nanoCpus: 1e9, memoryBytes: 2 ** 31 },
          address,
          createdAt: 1_760_000_000_000 + at * 1000,
          expiresAt: 1_990_000_000_000 + at,
          tenant: at % 2 === 0 ? 'default' : `tenant-${at % 20}`,
        }),
      )
      sandboxes.set(id, { id, state: isPaused ? 'paused' : 'running', address })
    }
  })
  return sandboxes
}

function listen(control: ControlApp, signal: AbortSignal): Promise<Serving> {
  return serve({
    fetch: (request, env) => control.app.fetch(request, env ?? {}),
    listen: { host: '127.0.0.1', port: 0 },
    signal,
  })
}

const CREATE = {
  image: { uri: 'debian' },
  entrypoint: ['tail', '-f', '/dev/null'],
  resourceLimits: { cpu: '1', memory: '2Gi' },
  metadata: { team: 'team-1' },
  timeout: 86_400,
}

async function send(port: number, method: string, path: string, body?: unknown): Promise<Uint8Array> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    ...(body !== undefined && {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  })
  const bytes = new Uint8Array(await response.arrayBuffer())
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${Buffer.from(bytes)}`)
  return bytes
}

/** One request at a time over a socket, in turns with a server that only sends the same bytes. */
async function requests(port: number, path: string): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  for (const [name, method, route, maxMs, body] of [
    ['list of 20, first page', 'GET', '/v1/sandboxes', 5],
    ['list of 200, page 40', 'GET', '/v1/sandboxes?pageSize=200&page=40', 5],
    ['list by state and label', 'GET', '/v1/sandboxes?state=Running&metadata=team%3Dteam-7', 5],
    ['get', 'GET', '/v1/sandboxes/s000000000005000', 2],
    ['create, without the runtime', 'POST', '/v1/sandboxes', 3, CREATE],
  ] as const) {
    const bytes = await send(port, method, route, body)
    const bare = await serveBytes(bytes)
    const ours: number[] = []
    const theirs: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      ours.push(await timeOf(() => send(port, method, route, body)))
      theirs.push(await timeOf(() => send(bare.port, method, route, body)))
    }
    bare.close()
    rows.push({
      name: `${name}, p50`,
      unit: 'ms',
      ours: median(ours),
      budget: { max: maxMs },
      peer: { name: 'node:http, same bytes', value: median(theirs) },
    })
    rows.push({
      name: `${name}, p99`,
      unit: 'ms',
      ours: percentile(ours, 0.99),
      peer: { name: 'node:http, same bytes', value: percentile(theirs, 0.99) },
    })
  }
  const shell = await shellTime(
    path,
    'SELECT * FROM sandboxes WHERE hidden = 0 ORDER BY created_at DESC, id DESC LIMIT 20; SELECT count(*) FROM sandboxes WHERE hidden = 0;',
  )
  const first = rows[0]
  if (shell !== undefined && first)
    rows.unshift({ ...first, peer: { name: 'its two queries in the sqlite3 shell', value: shell } })
  return rows
}

/** How many creates a second are answered, and how late everything else is meanwhile. */
async function creates(control: ControlApp, port: number, upkeep: UpkeepDeps): Promise<BenchRow[]> {
  const bytes = await send(port, 'POST', '/v1/sandboxes', CREATE)
  const bare = await serveBytes(bytes)
  const rate = async (to: number) => {
    const load: Load = {
      url: `http://127.0.0.1:${to}/v1/sandboxes`,
      body: JSON.stringify(CREATE),
      count: CREATES,
      lanes: LANES,
    }
    const client = new Worker(new URL('./load-worker.ts', import.meta.url), { workerData: load })
    const [tookMs] = (await once(client, 'message')) as [number]
    return (CREATES * 1000) / tookMs
  }
  const theirs = await rate(bare.port)
  const before = control.runtime.sandboxes.size
  const cpuBefore = process.threadCpuUsage()
  const ours = await rate(port)
  const cpu = process.threadCpuUsage(cpuBefore)
  bare.close()
  await shortenWal(upkeep)
  const made = control.runtime.sandboxes.size - before
  if (made !== CREATES) throw new Error(`${made} of ${CREATES} sandboxes were made`)
  return [
    {
      name: `creates accepted, ${LANES} at a time`,
      unit: '1/s',
      ours,
      budget: { min: 500 },
      peer: { name: 'node:http, same bytes', value: theirs },
    },
    {
      // What other programs of the machine take does not count here: with 2 ms one thread takes in 500 a second.
      name: 'CPU time of the server for one',
      unit: 'ms',
      ours: (cpu.user + cpu.system) / 1000 / CREATES,
      budget: { max: 2 },
    },
  ]
}

/** Looks at everything when nothing differs, as it is nearly always. */
async function passes({ lives }: ControlApp): Promise<BenchRow[]> {
  const took = await repeat(20, () => timeOf(() => reconcile(lives)))
  const late = watchLoop()
  await repeat(10, () => timeOf(() => reconcile(lives)))
  const shell = await shellTime(lives.store.database.raw.name, 'SELECT * FROM sandboxes;', 10)
  return [
    {
      name: `reconcile pass over ${lives.store.list({ limit: 1, offset: 0 }).total}, p50`,
      unit: 'ms',
      ours: median(took),
      budget: { max: 100 },
      ...(shell !== undefined && { peer: { name: 'reading all rows in the sqlite3 shell', value: shell } }),
    },
    { name: 'event loop delay meanwhile, longest', unit: 'ms', ours: late.stop().max },
  ]
}

/** Removes a day of events while the log is taken into the file, as in use. */
async function pruning(store: Store, upkeep: UpkeepDeps): Promise<BenchRow[]> {
  const { raw } = store.database
  const addDay = () => {
    const insert = raw.prepare(
      `INSERT INTO events (at, tenant, sandbox_id, type, state, reason) VALUES (?, 'default', ?, 'state', 'Running', 'CONTAINER_RUNNING')`,
    )
    raw.transaction(() => {
      for (let at = 0; at < EVENTS; at++) insert.run(1000 + at, `s${(at * 7919) % 50_000}`)
    })()
  }
  addDay()
  const whole = await timeOf(async () => raw.prepare('DELETE FROM events WHERE at < ?').run(1000 + EVENTS))
  addDay()
  await upkeep.checkpointer.checkpoint()
  const late = watchLoop()
  const idle = watchIdleThread()
  const over = new AbortController()
  const log = (async () => {
    while (!over.signal.aborted) {
      await shortenWal(upkeep)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })()
  const took = await timeOf(() => tidy(upkeep))
  const { max, p99 } = late.stop()
  const theirs = await idle.stop()
  over.abort()
  await log
  const left = raw.prepare<[], { n: number }>('SELECT count(*) AS n FROM events').get()?.n
  if (left !== 0) throw new Error(`${left} events are left`)
  return [
    {
      name: `${EVENTS} events pruned, longest pause`,
      unit: 'ms',
      ours: max,
      budget: { max: 20 },
      peer: { name: 'by one DELETE', value: whole },
    },
    {
      name: `${EVENTS} events pruned, longest pause`,
      unit: 'ms',
      ours: max,
      budget: { max: 20 },
      peer: { name: 'a thread that does nothing', value: Math.max(...theirs) },
    },
    {
      name: `${EVENTS} events pruned, p99 of pauses`,
      unit: 'ms',
      ours: p99,
      peer: { name: 'a thread that does nothing', value: percentile(theirs, 0.99) },
    },
    { name: `${EVENTS} events pruned, in all`, unit: 's', ours: took / 1000 },
  ]
}

/** By how much the event loop is late, of a timer that is due every millisecond. */
function watchLoop(): { stop: () => { p99: number; max: number } } {
  const monitor = monitorEventLoopDelay({ resolution: 1 })
  monitor.enable()
  return {
    stop: () => {
      monitor.disable()
      return { p99: monitor.percentile(99) / 1e6, max: monitor.max / 1e6 }
    },
  }
}

async function serveBytes(bytes: Uint8Array): Promise<{ port: number; close: () => void }> {
  const server = createServer((incoming, outgoing) => {
    incoming.resume().on('end', () => {
      outgoing.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length })
      outgoing.end(bytes)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** How long the sqlite3 shell takes for a statement, its own start left out; undefined when there is none on this machine. */
async function shellTime(
  path: string,
  statement: string,
  rounds = SHELL_ROUNDS,
): Promise<number | undefined> {
  const shell = (count: number) =>
    timeOf(() =>
      output('sqlite3', [
        '-readonly',
        path,
        '.output /dev/null',
        ...Array.from({ length: count }, () => statement),
      ]),
    )
  try {
    return ((await shell(rounds)) - (await shell(0))) / rounds
  } catch {
    return undefined
  }
}

const BURSTS = 5
const BURST = 20

/** How late control's event loop is while it makes sandboxes by the real runtime, beside a thread that does nothing. */
async function loopWhileCreating(): Promise<BenchRow[]> {
  const edge = await startEdge()
  try {
    await removeSandbox(edge, await createSandbox(edge))
    const counts = new Map<number, number>()
    const theirs: number[] = []
    for (let burst = 0; burst < BURSTS; burst++) {
      const before = new Map((await delaysOf(edge)).map(({ atMost, count }) => [atMost, count]))
      const idle = watchIdleThread()
      const made = await Promise.all(Array.from({ length: BURST }, () => createSandbox(edge)))
      theirs.push(...(await idle.stop()))
      for (const { atMost, count } of await delaysOf(edge))
        counts.set(atMost, (counts.get(atMost) ?? 0) + count - (before.get(atMost) ?? 0))
      await Promise.all(made.map((sandbox) => removeSandbox(edge, sandbox)))
    }
    const buckets = [...counts].map(([atMost, count]) => ({ atMost, count }))
    return [
      {
        name: `event loop delay while ${BURST} are made by the real runtime, p99`,
        unit: 'ms',
        ours: quantile(buckets, 0.99) * 1000,
        budget: { max: 20 },
        peer: { name: 'a thread that does nothing', value: percentile(theirs, 0.99) },
      },
    ]
  } finally {
    await edge.dispose()
  }
}

type Bucket = { atMost: number; count: number }

/** The histogram that control keeps of its own event loop. */
async function delaysOf(edge: Edge): Promise<Bucket[]> {
  const text = await (await fetch(`${edge.url}/metrics`)).text()
  const found = [...text.matchAll(/^opensandbox_event_loop_delay_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm)]
  if (found.length === 0)
    throw new Error(`There is no event loop delay among the metrics: ${text.slice(0, 200)}`)
  return found.map(([, atMost, count]) => ({
    atMost: atMost === '+Inf' ? Number.POSITIVE_INFINITY : Number(atMost),
    count: Number(count),
  }))
}

/** As Prometheus does it: within a bucket, evenly. */
function quantile(buckets: Bucket[], share: number): number {
  const rank = (buckets.at(-1)?.count ?? 0) * share
  const at = buckets.findIndex(({ count }) => count >= rank)
  const found = buckets[at]
  const below = buckets[at - 1] ?? { atMost: 0, count: 0 }
  if (!found || !Number.isFinite(found.atMost)) return below.atMost
  return below.atMost + ((found.atMost - below.atMost) * (rank - below.count)) / (found.count - below.count)
}

/** How late the same timer comes in a thread that has nothing else to do: what the machine adds by itself. */
function watchIdleThread(): { stop: () => Promise<number[]> } {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads')
    const late = []
    let due = performance.now() + 20
    setInterval(() => {
      late.push(Math.max(0, performance.now() - due))
      due = performance.now() + 20
    }, 20)
    parentPort.once('message', () => parentPort.postMessage(late))`,
    { eval: true },
  )
  return {
    stop: async () => {
      worker.postMessage('stop')
      const [late] = (await once(worker, 'message')) as [number[]]
      await worker.terminate()
      return late
    },
  }
}

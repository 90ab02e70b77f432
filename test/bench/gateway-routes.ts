// Routes that change while requests are served: what requests notice of it.

import { GatewayLab, type ReverseProxy, runLoad, whatIsMissing } from './gateway-lab.ts'
import { median } from './samples.ts'
import type { BenchRow } from './table.ts'

export const title = 'Changes of routes while the gateway serves'

const CHANGES_PER_SECOND = 20_000
/** So many sandboxes have routes that change, beside the one that is asked for. */
const SANDBOXES = 5000
const CONNECTIONS = 16
const SECONDS = 4
const ROUNDS = 3

type Served = { p99: number; rate: number }

export async function run(): Promise<BenchRow[]> {
  const missing = whatIsMissing(['wrk', 'nginx'])
  if (missing) {
    console.log(`Routes: not measured, as it needs ${missing}`)
    return []
  }
  await using lab = await GatewayLab.create()
  const upstream = await lab.startNginx(
    'load',
    (port) =>
      `server { listen 127.0.0.1:${port} backlog=1024; location / { return 200 "hello, this is a small answer"; } }`,
  )
  const ours = await lab.startGateway(lab.route('benchbenchbench1', upstream.port))
  await load(ours)
  const quiet: Served[] = []
  const busy: Served[] = []
  const changed: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    quiet.push(await load(ours))
    const stop = changeRoutes(lab, ours, upstream.port)
    busy.push(await load(ours))
    changed.push(await stop())
  }
  return [
    {
      name: 'changes of routes',
      unit: '/s',
      ours: median(changed),
      budget: { min: CHANGES_PER_SECOND },
    },
    {
      name: 'p99 of requests meanwhile',
      unit: 'ms',
      ours: median(busy.map(({ p99 }) => p99)),
      peer: { name: 'without changes', value: median(quiet.map(({ p99 }) => p99)) },
      budget: { max: 5 },
    },
    {
      name: 'requests meanwhile',
      unit: '/s',
      ours: median(busy.map(({ rate }) => rate)),
      peer: { name: 'without changes', value: median(quiet.map(({ rate }) => rate)) },
    },
  ]
}

/** As many requests as go. */
async function load(proxy: ReverseProxy): Promise<Served> {
  const text = await runLoad('wrk', [
    '-t1',
    `-c${CONNECTIONS}`,
    `-d${SECONDS}s`,
    '--latency',
    '-H',
    `Host: ${proxy.host}`,
    `http://127.0.0.1:${proxy.port}/`,
  ])
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(`The load met errors:\n${text}`)
  const [, p99, unit] = /^\s+99%\s+([\d.]+)(us|ms|s)$/m.exec(text) ?? []
  return {
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    p99: Number(p99) * (unit === 'us' ? 0.001 : unit === 's' ? 1000 : 1),
  }
}

/** Changes routes as often as it should, a few at a time; what it returns stops that and says how many there were each second. */
function changeRoutes(lab: GatewayLab, gateway: ReverseProxy, port: number): () => Promise<number> {
  const startedAt = performance.now()
  let changes = 0
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1000) * CHANGES_PER_SECOND
    for (; changes < due; changes++)
      lab.route(
        `changing${String(changes % SANDBOXES).padStart(8, '0')}`,
        port,
        1 + Math.floor(changes / SANDBOXES),
      )
  }, 1)
  return async () => {
    clearInterval(timer)
    await lab.untilTaken(gateway)
    const seconds = (performance.now() - startedAt) / 1000
    return changes / seconds
  }
}

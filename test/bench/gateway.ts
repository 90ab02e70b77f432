// What the gateway adds to requests and what it carries, beside nginx as a reverse proxy and http-proxy-3, one worker each, all
// on one core; the load and the upstream have the other. Rates are told twice: as seen, and by the processor time that each
// proxy spent on a request, which other work on this machine disturbs less.

import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../support/edge.ts'
import { waitForPort } from '../support/wait-for-port.ts'
import { cpuSecondsOf, GatewayLab, type ReverseProxy, runLoad, whatIsMissing } from './gateway-lab.ts'
import { median, percentile } from './samples.ts'
import type { BenchRow } from './table.ts'

export const title = 'Gateway, one core'

const SECONDS = 3
const ROUNDS = 5
const CONNECTIONS = 64
const BULK_BYTES = 2 ** 30

type Load = { rate: number; cpuMs: number }

export async function run(): Promise<BenchRow[]> {
  const missing = whatIsMissing(['wrk', 'h2load', 'nginx', 'curl', 'python3'])
  if (missing) {
    console.log(`Gateway: not measured, as it needs ${missing}`)
    return []
  }
  await using lab = await GatewayLab.create()
  writeFileSync(join(lab.folder, 'bulk'), '')
  truncateSync(join(lab.folder, 'bulk'), BULK_BYTES)
  const upstream = await lab.startNginx(
    'load',
    (port) => `server { listen 127.0.0.1:${port} backlog=1024; root ${lab.folder};
      location = /small { return 200 "hello, this is a small answer"; } }`,
  )
  const sink = await freePort()
  lab.spawn('load', 'python3', [join(import.meta.dirname, 'sink.py'), String(sink)])
  await waitForPort(sink)
  const ours = await lab.startGateway(lab.route('benchbenchbench1', upstream.port))
  const sinkHost = `${lab.route('benchbenchbench2', sink)}:${ours.port}`
  const nginx = await lab.startNginx(
    'proxy',
    (port) => `upstream small { server 127.0.0.1:${upstream.port}; keepalive 64; }
      upstream sink { server 127.0.0.1:${sink}; }
      server { listen 127.0.0.1:${port} backlog=1024; client_max_body_size 0; proxy_http_version 1.1;
        proxy_set_header Connection ""; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_max_temp_file_size 0;
        location / { proxy_pass http://small; }
        location /sink { proxy_request_buffering off; proxy_pass http://sink; } }`,
  )
  const plain = await startHttpProxy(lab, upstream.port)
  const pair = await startPair(lab, lab.route('benchbenchbench1', upstream.port))

  for (const proxy of [ours, pair]) await load(proxy, 2)
  const loads = new Map<ReverseProxy, Load[]>([ours, nginx, plain, pair].map((proxy) => [proxy, []]))
  // In turns, so that what disturbs one disturbs the other.
  for (let round = 0; round < ROUNDS; round++)
    for (const proxy of round === 0 ? [ours, nginx, pair, plain] : [ours, nginx, pair])
      loads.get(proxy)?.push(await load(proxy, SECONDS))
  const rateOf = (proxy: ReverseProxy) => median((loads.get(proxy) ?? []).map(({ rate }) => rate))
  const perCpuSecondOf = (proxy: ReverseProxy) =>
    1000 / median((loads.get(proxy) ?? []).map(({ cpuMs }) => cpuMs))

  const rate = Math.floor(rateOf(ours) / 2 / CONNECTIONS)
  const latencies = new Map<ReverseProxy, number[]>([upstream, ours, nginx].map((proxy) => [proxy, []]))
  for (let round = 0; round < 2; round++)
    for (const [proxy, samples] of latencies) samples.push(...(await paced(lab, proxy, rate)))
  const added = (proxy: ReverseProxy, share: number) =>
    percentile(latencies.get(proxy) ?? [], share) - percentile(latencies.get(upstream) ?? [], share)

  const bulk = join(lab.folder, 'bulk')
  const down = (proxy: ReverseProxy) => transfer(proxy, ['-H', `Host: ${proxy.host}`, `${urlOf(proxy)}bulk`])
  const up = (proxy: ReverseProxy, host: string) =>
    transfer(proxy, ['-H', `Host: ${host}`, '-H', 'Expect:', '-T', bulk, `${urlOf(proxy)}sink`])
  return [
    {
      name: `small GETs, ${CONNECTIONS} connections`,
      unit: 'req/s',
      ours: rateOf(ours),
      peer: { name: 'nginx', value: rateOf(nginx) },
    },
    {
      name: 'the same, by processor time',
      unit: 'req/s',
      ours: perCpuSecondOf(ours),
      peer: { name: 'nginx', value: perCpuSecondOf(nginx) },
    },
    {
      name: 'share of nginx by processor time',
      unit: 'ratio',
      ours: perCpuSecondOf(ours) / perCpuSecondOf(nginx),
      budget: { min: 0.8 },
    },
    {
      name: 'two processes on a core each, of one, by processor time',
      unit: 'ratio',
      ours: (2 * perCpuSecondOf(pair)) / perCpuSecondOf(ours),
      budget: { min: 1.8 },
    },
    {
      name: 'small GETs, beside a proxy on node:http',
      unit: 'req/s',
      ours: rateOf(ours),
      peer: { name: 'http-proxy-3', value: rateOf(plain) },
    },
    {
      name: `added at half load (${rate * CONNECTIONS}/s), p50`,
      unit: 'ms',
      ours: added(ours, 0.5),
      peer: { name: 'nginx', value: added(nginx, 0.5) },
      budget: { max: 0.2 },
    },
    {
      name: 'added at half load, p99',
      unit: 'ms',
      ours: added(ours, 0.99),
      peer: { name: 'nginx', value: added(nginx, 0.99) },
      budget: { max: 1 },
    },
    await sharedRow(
      'download of 1 GiB',
      () => down(ours),
      () => down(nginx),
    ),
    await sharedRow(
      'upload of 1 GiB',
      () => up(ours, sinkHost),
      () => up(nginx, nginx.host),
    ),
  ]
}

/** The better of three each, in turns. */
async function sharedRow(
  name: string,
  ours: () => Promise<number>,
  nginx: () => Promise<number>,
): Promise<BenchRow> {
  const best = { ours: 0, nginx: 0 }
  for (let round = 0; round < 3; round++) {
    best.ours = Math.max(best.ours, await ours())
    best.nginx = Math.max(best.nginx, await nginx())
  }
  return {
    name: `${name}, budget 0.9 of nginx`,
    unit: 'GB/s',
    ours: best.ours,
    peer: { name: 'nginx', value: best.nginx },
    budget: { min: 0.9 * best.nginx },
  }
}

const urlOf = ({ port }: ReverseProxy) => `http://127.0.0.1:${port}/`

const HTTP_PROXY = `
import { Agent, createServer } from 'node:http'
import { createProxyServer } from 'http-proxy-3'
const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const proxy = createProxyServer({ target: 'http://127.0.0.1:' + process.argv[2], agent })
createServer((request, response) => proxy.web(request, response)).listen(Number(process.argv[1]), '127.0.0.1')
`

async function startHttpProxy(lab: GatewayLab, upstream: number): Promise<ReverseProxy> {
  const port = await freePort()
  const child = lab.spawn('proxy', process.execPath, [
    '--input-type=module',
    '-e',
    HTTP_PROXY,
    String(port),
    String(upstream),
  ])
  await waitForPort(port)
  return { name: 'http-proxy-3', port, host: `127.0.0.1:${port}`, children: [child] }
}

/** Two processes of the gateway at one port. */
async function startPair(lab: GatewayLab, host: string): Promise<ReverseProxy> {
  const toml = '[front]\nprocesses = 2\n'
  const first = await lab.startGateway(host, toml)
  const second = await lab.startGateway(host, toml, first.port)
  return { ...first, children: [...first.children, ...second.children] }
}

/** As many requests as go, on connections that stay open. */
async function load(proxy: ReverseProxy, seconds: number): Promise<Load> {
  const before = cpuSecondsOf(proxy)
  const text = await runLoad('wrk', [
    '-t1',
    `-c${CONNECTIONS}`,
    `-d${seconds}s`,
    '-H',
    `Host: ${proxy.host}`,
    `${urlOf(proxy)}small`,
  ])
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(`The load met errors:\n${text}`)
  const count = Number(/(\d+) requests in/.exec(text)?.[1])
  return {
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    cpuMs: ((cpuSecondsOf(proxy) - before) * 1000) / count,
  }
}

/** How long requests take, in milliseconds, when each connection asks `rate` times a second. */
async function paced(lab: GatewayLab, proxy: ReverseProxy, rate: number): Promise<number[]> {
  const log = join(lab.folder, 'paced.log')
  writeFileSync(log, '')
  await runLoad('h2load', [
    '--h1',
    `-c${CONNECTIONS}`,
    `-n${rate * CONNECTIONS * SECONDS}`,
    `--rps=${rate}`,
    `--log-file=${log}`,
    `--connect-to=127.0.0.1:${proxy.port}`,
    `http://${proxy.host}/small`,
  ])
  const rows = readFileSync(log, 'latin1').trimEnd().split('\n')
  return rows.map((row) => {
    const [, status, microseconds] = row.split('\t')
    if (status !== '200') throw new Error(`A request was answered with ${status}`)
    return Number(microseconds) / 1000
  })
}

/** GB/s of one transfer by curl. */
async function transfer({ name }: ReverseProxy, args: readonly string[]): Promise<number> {
  const text = await runLoad('curl', [
    '-sS',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code} %{time_total}',
    '--max-time',
    '60',
    ...args,
  ])
  const [status, took] = text.split(' ')
  if (status !== '200') throw new Error(`${name} answered the transfer with ${status}`)
  return BULK_BYTES / 1e9 / Number(took)
}

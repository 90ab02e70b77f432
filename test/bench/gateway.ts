// What the gateway adds and what it carries, beside nginx as a reverse proxy and http-proxy-3, one worker each, all on one
// core; the load and the upstream have the other. Can be run alone: `node test/bench/gateway.ts`.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { instanceOf } from '../../lib/instance.ts'
import { FakeControl } from '../gateway/fake-control.ts'
import { freePort } from '../support/edge.ts'
import { type BenchRow, printTable } from './table.ts'

export const title = 'Gateway, one core'

const SECONDS = 5
const CONNECTIONS = 32
const BULK_BYTES = 2 ** 30
const ID = 'benchbenchbench1'
const ROOT = join(import.meta.dirname, '../..')

type Peer = { name: string; port: number; headers: string[]; child: ChildProcess }
type Load = { rate: number; p50: number; p99: number }

export async function run(): Promise<BenchRow[]> {
  const missing = ['wrk', 'nginx', 'taskset', 'curl', 'python3'].filter((name) => !isInstalled(name))
  if (missing.length > 0 || cpus().length < 2) {
    console.log(`Gateway: not measured, as it needs ${missing.join(', ') || 'two cores'}`)
    return []
  }
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'bench-gateway-'))
  const children: ChildProcess[] = []
  const instance = instanceOf(folder)
  mkdirSync(instance.runDir, { recursive: true, mode: 0o700 })
  await using control = await new FakeControl(instance).start()
  const pings = setInterval(() => control.send({ type: 'ping', version: control.version }), 5000)
  try {
    const upstream = await freePort()
    writeFileSync(join(folder, 'bulk'), '')
    truncateSync(join(folder, 'bulk'), BULK_BYTES)
    children.push(
      await startNginx({
        folder,
        name: 'upstream',
        core: 1,
        http: `server { listen 127.0.0.1:${upstream} backlog=1024; root ${folder};
          location = /small { return 200 "hello, this is a small answer"; } }`,
        port: upstream,
      }),
    )
    const sink = await freePort()
    children.push(spawnPinned(1, 'python3', ['-c', SINK, String(sink)]))
    await waitForPort(sink)
    for (const [id, port] of [
      [ID, upstream],
      [`${ID}s`, sink],
    ] as const)
      control.put({
        id,
        state: 'running',
        address: '127.0.0.1',
        generation: 1,
        ports: { 8000: { host: '127.0.0.1', port } },
      })
    const gatewayPort = await freePort()
    const gateway = spawnPinned(0, process.execPath, [
      join(ROOT, 'gateway/main.ts'),
      '--port',
      String(gatewayPort),
      '--data-dir',
      folder,
      '--config',
      quietConfig(folder),
    ])
    children.push(gateway)
    await waitForPort(gatewayPort)
    const nginxPort = await freePort()
    const nginx = await startNginx({
      folder,
      name: 'proxy',
      core: 0,
      http: `upstream small { server 127.0.0.1:${upstream}; keepalive 64; }
        upstream sink { server 127.0.0.1:${sink}; }
        server { listen 127.0.0.1:${nginxPort} backlog=1024; client_max_body_size 0; proxy_http_version 1.1;
          proxy_set_header Connection ""; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_max_temp_file_size 0;
          location / { proxy_pass http://small; }
          location /sink { proxy_request_buffering off; proxy_pass http://sink; } }`,
      port: nginxPort,
    })
    children.push(nginx)
    const plainPort = await freePort()
    const plain = await startNode(0, HTTP_PROXY, [String(plainPort), String(upstream)], plainPort)
    children.push(plain)

    const host = (id: string) => `Host: ${id}-8000.localhost:${gatewayPort}`
    const ours: Peer = { name: 'gateway', port: gatewayPort, headers: [host(ID)], child: gateway }
    const theirs: Peer = { name: 'nginx', port: nginxPort, headers: [], child: nginx }
    const others: Peer = { name: 'http-proxy-3', port: plainPort, headers: [], child: plain }
    const direct: Peer = { name: 'direct', port: upstream, headers: [], child: nginx }

    await load(ours, 32, 1)
    const rates = new Map<string, Load>()
    for (const peer of [ours, theirs, others, ours, theirs]) {
      const measured = await load(peer, CONNECTIONS, SECONDS)
      const before = rates.get(peer.name)
      if (!before || before.rate < measured.rate) rates.set(peer.name, measured)
    }
    const single = new Map<string, Load>()
    for (const peer of [direct, ours, theirs, direct, ours, theirs]) {
      const measured = await load(peer, 1, 2)
      const before = single.get(peer.name)
      if (!before || measured.p50 < before.p50) single.set(peer.name, measured)
    }
    const bulk = (peer: Peer, direction: 'down' | 'up') =>
      transfer(peer, direction, join(folder, 'bulk'), direction === 'up' ? [host(`${ID}s`)] : peer.headers)
    const down = { ours: bulk(ours, 'down'), nginx: bulk(theirs, 'down') }
    const up = { ours: bulk(ours, 'up'), nginx: bulk(theirs, 'up') }

    const rateOf = (peer: Peer) => rates.get(peer.name)?.rate ?? Number.NaN
    const p50Of = (peer: Peer) => single.get(peer.name)?.p50 ?? Number.NaN
    return [
      {
        name: 'small requests',
        unit: 'req/s',
        ours: rateOf(ours),
        peer: { name: theirs.name, value: rateOf(theirs) },
        budget: { min: 30_000 },
      },
      { name: 'share of nginx', unit: 'ratio', ours: rateOf(ours) / rateOf(theirs), budget: { min: 0.6 } },
      {
        name: 'small requests, beside a proxy on node:http',
        unit: 'req/s',
        ours: rateOf(ours),
        peer: { name: others.name, value: rateOf(others) },
      },
      {
        name: 'added to one request, p50',
        unit: 'ms',
        ours: p50Of(ours) - p50Of(direct),
        peer: { name: theirs.name, value: p50Of(theirs) - p50Of(direct) },
        budget: { max: 0.2 },
      },
      {
        name: `p99 with ${CONNECTIONS} connections`,
        unit: 'ms',
        ours: rates.get(ours.name)?.p99 ?? Number.NaN,
        peer: { name: theirs.name, value: rates.get(theirs.name)?.p99 ?? Number.NaN },
      },
      {
        name: 'download of 1 GiB',
        unit: 'GB/s',
        ours: down.ours,
        peer: { name: theirs.name, value: down.nginx },
        budget: { min: 1 },
      },
      {
        name: 'upload of 1 GiB',
        unit: 'GB/s',
        ours: up.ours,
        peer: { name: theirs.name, value: up.nginx },
        budget: { min: 1 },
      },
    ]
  } finally {
    clearInterval(pings)
    await Promise.all(children.map(end))
    rmSync(instance.runDir, { recursive: true, force: true })
    rmSync(folder, { recursive: true, force: true })
  }
}

// Reads into one buffer, so that the gateway is measured and not the sink.
const SINK = `
import re, socket, sys, threading
def serve(connection):
    memory, head = bytearray(1 << 20), b""
    while b"\\r\\n\\r\\n" not in head:
        part = connection.recv(65536)
        if not part:
            return
        head += part
    end = head.index(b"\\r\\n\\r\\n") + 4
    left = int(re.search(rb"content-length: (\\d+)", head, re.I)[1]) - (len(head) - end)
    while left > 0:
        count = connection.recv_into(memory)
        if count == 0:
            return
        left -= count
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    connection.close()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
`
const HTTP_PROXY = `
import { Agent, createServer } from 'node:http'
import { createProxyServer } from 'http-proxy-3'
const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const proxy = createProxyServer({ target: 'http://127.0.0.1:' + process.argv[2], agent })
createServer((request, response) => proxy.web(request, response)).listen(Number(process.argv[1]), '127.0.0.1')
`

function spawnPinned(core: number, command: string, args: string[]): ChildProcess {
  return spawn('taskset', ['-c', String(core), command, ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
}

async function startNode(core: number, source: string, args: string[], port: number): Promise<ChildProcess> {
  const child = spawnPinned(core, process.execPath, ['--input-type=module', '-e', source, ...args])
  await waitForPort(port)
  return child
}

async function startNginx({
  folder,
  name,
  core,
  http,
  port,
}: {
  folder: string
  name: string
  core: number
  http: string
  port: number
}): Promise<ChildProcess> {
  const file = join(folder, `${name}.conf`)
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${join(folder, `${name}-${kind}`)};`)
    .join('\n')
  writeFileSync(
    file,
    `user root; worker_processes 1; daemon off; pid ${join(folder, `${name}.pid`)}; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 100000000; sendfile on; tcp_nopush on; ${temp} ${http} }
`,
  )
  const child = spawnPinned(core, 'nginx', ['-c', file, '-p', folder])
  await waitForPort(port)
  return child
}

async function load({ port, headers }: Peer, connections: number, seconds: number): Promise<Load> {
  const text = await output('taskset', [
    '-c',
    '1',
    'wrk',
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--latency',
    ...headers.flatMap((header) => ['-H', header]),
    `http://127.0.0.1:${port}/small`,
  ])
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(`The load met errors:\n${text}`)
  return {
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    p50: milliseconds(/^\s+50%\s+(\S+)/m.exec(text)?.[1]),
    p99: milliseconds(/^\s+99%\s+(\S+)/m.exec(text)?.[1]),
  }
}

function milliseconds(text: string | undefined): number {
  const [, number, unit] = /^([\d.]+)(us|ms|s)$/.exec(text ?? '') ?? []
  return Number(number) * (unit === 'us' ? 0.001 : unit === 's' ? 1000 : 1)
}

/** GB/s of the better of two transfers. */
function transfer({ port }: Peer, direction: 'down' | 'up', file: string, headers: string[]): number {
  const args = ['-sS', '-o', '/dev/null', '-w', '%{http_code} %{time_total}', '--max-time', '60']
  for (const header of headers) args.push('-H', header)
  if (direction === 'up') args.push('-H', 'Expect:', '-T', file, `http://127.0.0.1:${port}/sink`)
  else args.push(`http://127.0.0.1:${port}/bulk`)
  const seconds = [1, 2].map(() => {
    const text = execFileSync('taskset', ['-c', '1', 'curl', ...args], { encoding: 'utf8' })
    const [status, took] = text.split(' ')
    if (status !== '200') throw new Error(`The transfer was answered with ${status}`)
    return Number(took)
  })
  return BULK_BYTES / 1e9 / Math.min(...seconds)
}

async function waitForPort(port: number): Promise<void> {
  const deadline = performance.now() + 10_000
  for (;;) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.on('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
    if (isOpen) return
    if (performance.now() > deadline) throw new Error(`Nothing listens on port ${port} after 10 seconds`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.on('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

function output(command: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    child.stdout.on('data', (chunk) => {
      text += chunk
    })
    child.on('error', reject)
    child.on('close', (code) =>
      code === 0 ? resolve(text) : reject(new Error(`${command} ended with ${code}`)),
    )
  })
}

function isInstalled(name: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, name)))
}

/** The load breaks its connections off at its end, which the gateway would tell one by one. */
function quietConfig(folder: string): string {
  const file = join(folder, 'edge.toml')
  writeFileSync(file, '[log]\nlevel = "warn"\n')
  return file
}

if (process.argv[1] === import.meta.filename) {
  const rows = await run()
  printTable(title, rows)
  console.log(JSON.stringify(rows))
}

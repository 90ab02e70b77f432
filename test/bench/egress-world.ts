// The measuring of egress.ts, on its machine: `egress-world.ts INTERNET FOLDER`. Writes rows.json into the folder. Three clients in namespaces
// of their own: `ours` behind egress, `plain` behind a veth pair with NAT alone, which is also where the peers' clients are.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { EgressNetwork } from '../../lib/api/egress-admin.ts'
import { instanceOf, makeRunDir } from '../../lib/instance.ts'
import { BULK_BYTES, GOOD, HOST, NAME_SERVER, startServers } from '../system/egress/internet.ts'
import { percentile } from './samples.ts'
import type { BenchRow } from './table.ts'

const MAIN = join(import.meta.dirname, '../../egress/main.ts')
const CLIENT = join(import.meta.dirname, 'egress-client.py')
const COMMAND_MS = 60_000
const TOKEN = 'a-token-of-a-sandbox'
const HAPROXY_PORT = 8443
const ROUNDS = 4
const MANY = 500
const RULES = 100
const CHANGES = 40
/** What the plain client is behind. */
const PLAIN = { client: '10.250.0.2', host: '10.250.0.1' }

const execute = promisify(execFile)
const run = async (program: string, ...args: string[]) =>
  (await execute(program, args, { timeout: COMMAND_MS, maxBuffer: 1 << 24 })).stdout
const ip = (...args: string[]) => run('ip', ...args)

type Lab = {
  namespaces: { ours: string; plain: string }
  network: EgressNetwork
  egressPid: number
  admin(method: string, path: string, body?: unknown): Promise<string>
  policy(id: string, body: unknown): Promise<string>
}

if (import.meta.main) {
  const [internet = '', folder = ''] = process.argv.slice(2)
  await using cleanup = new AsyncDisposableStack()
  const lab = await openLab({ internet, folder, cleanup })
  const rows = [
    // First, as what has been relayed leaves memory behind that has nothing to do with sandboxes.
    ...(await measureMany(lab)),
    ...(await measureNames(lab)),
    ...(await measureSetUp(lab)),
    ...(await measureTls(lab)),
  ]
  writeFileSync(join(folder, 'rows.json'), JSON.stringify(rows))
}

async function openLab({
  internet,
  folder,
  cleanup,
}: {
  internet: string
  folder: string
  cleanup: AsyncDisposableStack
}): Promise<Lab> {
  const servers = await startServers({ namespace: internet, folder: join(folder, 'internet') })
  cleanup.defer(() => servers.close())
  const dataDir = join(folder, 'data')
  mkdirSync(dataDir)
  const instance = instanceOf(dataDir)
  makeRunDir(instance)
  const config = join(folder, 'edge.toml')
  // Nothing here is refused, and what is asked is asked as fast as it goes.
  writeFileSync(
    config,
    `[egress]\nupstream_dns = ["${NAME_SERVER}"]\n[egress.dns_limits]\nqueries_per_second = 100000\nburst = 100000\n`,
  )
  const egress = spawn(process.execPath, [MAIN, '--config', config, '--data-dir', dataDir], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  cleanup.defer(() => end(egress))
  await untilLine(egress, / ready /)
  const admin = (method: string, path: string, body?: unknown) =>
    ask(instance.egressSocket, method, path, body)
  const network = JSON.parse(await admin('GET', '/network')) as EgressNetwork
  const haproxy = spawn('haproxy', ['-db', '-q', '-f', haproxyConfig(folder)], { stdio: 'ignore' })
  cleanup.defer(() => end(haproxy))
  const dnsmasq = spawn(
    'dnsmasq',
    [
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--no-resolv',
      '--no-hosts',
      '--user=root',
      '--bind-interfaces',
    ].concat([`--listen-address=${HOST}`, `--server=${NAME_SERVER}`, '--except-interface=lo']),
    { stdio: 'ignore' },
  )
  cleanup.defer(() => end(dnsmasq))
  const prefix = internet.replace(/-out$/, '')
  const namespaces = { ours: `${prefix}-a`, plain: `${prefix}-b` }
  cleanup.defer(async () => {
    for (const name of Object.values(namespaces)) await ip('netns', 'delete', name)
  })
  const client = network.gateway.replace(/\d+$/, '10')
  await addClient({
    namespace: namespaces.ours,
    name: `${network.interfacePrefix}c1`,
    client,
    host: network.gateway,
    hasHost: true,
  })
  await addClient({ namespace: namespaces.plain, name: 'plain0', ...PLAIN, hasHost: false })
  await run(
    'nft',
    `add table ip plain; add chain ip plain out { type nat hook postrouting priority srcnat; }; add rule ip plain out ip saddr ${PLAIN.client} masquerade`,
  )
  await admin('PUT', '/sandboxes/ours', {
    address: client,
    interface: `${network.interfacePrefix}c1`,
    token: TOKEN,
    policy: { defaultAction: 'deny', egress: [{ action: 'allow', target: 'good.example' }] },
  })
  return {
    namespaces,
    network,
    egressPid: egress.pid ?? 0,
    admin,
    policy: (id, body) => ask(instance.policySocket, 'PUT', `/sandboxes/${id}/policy`, body),
  }
}

/** Names that are in a cache, one after the other. */
async function measureNames({ namespaces, network }: Lab): Promise<BenchRow[]> {
  const ours: number[] = []
  const peers: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(...(await measure(namespaces.ours, 'dns', network.gateway, 'good.example')))
    peers.push(...(await measure(namespaces.plain, 'dns', HOST, 'good.example')))
  }
  return [
    row(
      'DNS answer from the cache, p50',
      'ms',
      percentile(ours, 0.5),
      { dnsmasq: percentile(peers, 0.5) },
      { max: 0.3 },
    ),
    row('DNS answer from the cache, p99', 'ms', percentile(ours, 0.99), { dnsmasq: percentile(peers, 0.99) }),
  ]
}

/** From the connect to the last byte of a small answer, on a new connection each time. */
async function measureSetUp({ namespaces }: Lab): Promise<BenchRow[]> {
  const ours: number[] = []
  const peers: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(...(await measure(namespaces.ours, 'http', GOOD, 'good.example')))
    peers.push(...(await measure(namespaces.plain, 'http', GOOD, 'good.example')))
  }
  const plain = percentile(peers, 0.5)
  return [
    row(
      'connection and first answer, p50',
      'ms',
      percentile(ours, 0.5),
      { 'plain NAT': plain },
      { max: plain + 0.5 },
    ),
    row('connection and first answer, p99', 'ms', percentile(ours, 0.99), {
      'plain NAT': percentile(peers, 0.99),
    }),
  ]
}

/** A large answer by TLS whose name is checked on its way; the best of some, in turns. */
async function measureTls({ namespaces }: Lab): Promise<BenchRow[]> {
  const best = { ours: 0, haproxy: 0, plain: 0 }
  for (let round = 0; round < ROUNDS; round++) {
    best.ours = Math.max(best.ours, await download(namespaces.ours, GOOD, 443))
    best.haproxy = Math.max(best.haproxy, await download(namespaces.plain, HOST, HAPROXY_PORT))
    best.plain = Math.max(best.plain, await download(namespaces.plain, GOOD, 443))
  }
  return [
    row(
      'TLS whose name is checked, budget 0.9 of HAProxy',
      'GB/s',
      best.ours,
      { HAProxy: best.haproxy },
      { min: 0.9 * best.haproxy },
    ),
    row('the same beside no check at all', 'GB/s', best.ours, { 'plain NAT': best.plain }),
  ]
}

/** The change of one policy among many sandboxes with many rules, and the memory that they take. */
async function measureMany({ admin, policy, network, egressPid }: Lab): Promise<BenchRow[]> {
  const before = residentMegabytes(egressPid)
  const policyOf = (at: number, change: number) => ({
    defaultAction: 'deny',
    egress: Array.from({ length: RULES }, (_, rule) => ({
      action: 'allow',
      target:
        rule % 2 === 0 ? `n${rule}.s${at}.c${change}.example` : `198.18.${at % 250}.${(rule + change) % 250}`,
    })),
  })
  const [a, b] = network.gateway.split('.')
  for (let from = 0; from < MANY; from += 20)
    await Promise.all(
      Array.from({ length: 20 }, (_, offset) => {
        const at = from + offset
        return admin('PUT', `/sandboxes/s${at}`, {
          address: `${a}.${b}.${10 + Math.floor(at / 250)}.${(at % 250) + 1}`,
          interface: `${network.interfacePrefix}s${at}`,
          token: TOKEN,
          policy: policyOf(at, 0),
        })
      }),
    )
  const times: number[] = []
  for (let change = 1; change <= CHANGES; change++) {
    const at = (change * 37) % MANY
    const began = performance.now()
    await policy(`s${at}`, policyOf(at, change))
    times.push(performance.now() - began)
  }
  const after = residentMegabytes(egressPid)
  for (let at = 0; at < MANY; at++) await admin('DELETE', `/sandboxes/s${at}`)
  const what = `${MANY} sandboxes with ${RULES} rules`
  return [
    row(`${what}: a change of one, p50`, 'ms', percentile(times, 0.5), {}, { max: 20 }),
    row(`${what}: a change of one, p99`, 'ms', percentile(times, 0.99)),
    row(`${what}: resident memory of egress`, 'MB', after, { 'without them': before }, { max: 150 }),
  ]
}

function row(
  name: string,
  unit: string,
  ours: number,
  peers: Record<string, number> = {},
  budget?: BenchRow['budget'],
): BenchRow {
  const [peer] = Object.entries(peers)
  return {
    name,
    unit,
    ours,
    ...(peer && { peer: { name: peer[0], value: peer[1] } }),
    ...(budget && { budget }),
  }
}

/** Milliseconds, as the client in that namespace has measured them. */
async function measure(namespace: string, ...args: string[]): Promise<number[]> {
  return JSON.parse(await run('ip', 'netns', 'exec', namespace, 'python3', CLIENT, ...args)) as number[]
}

/** GB/s. */
async function download(namespace: string, address: string, port: number): Promise<number> {
  const text = await run(
    ...(['ip', 'netns', 'exec', namespace, 'curl', '-sSk', '-o', '/dev/null'] as const),
    ...[
      '--connect-to',
      `good.example:443:${address}:${port}`,
      '-w',
      '%{http_code} %{time_total}',
      '--max-time',
      '50',
    ],
    'https://good.example/bulk',
  )
  const [status, took] = text.split(' ')
  if (status !== '200') throw new Error(`The download by ${address}:${port} was answered ${status}`)
  return BULK_BYTES / 1e9 / Number(took)
}

async function addClient({
  namespace,
  name,
  client,
  host,
  hasHost,
}: {
  namespace: string
  name: string
  client: string
  host: string
  /** The host has its address on another interface. */
  hasHost: boolean
}): Promise<void> {
  await ip('netns', 'add', namespace)
  await ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
  await ip('link', 'set', name, 'up')
  if (!hasHost) await ip('address', 'add', `${host}/32`, 'dev', name)
  await ip('route', 'add', `${client}/32`, 'dev', name, 'src', host)
  const inside = (...args: string[]) => ip('-n', namespace, ...args)
  await inside('link', 'set', 'lo', 'up')
  await inside('address', 'add', `${client}/32`, 'dev', 'eth0')
  await inside('link', 'set', 'eth0', 'up')
  await inside('route', 'add', 'default', 'via', host, 'dev', 'eth0', 'onlink')
}

function haproxyConfig(folder: string): string {
  const path = join(folder, 'haproxy.cfg')
  writeFileSync(
    path,
    `global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend checked
  bind ${HOST}:${HAPROXY_PORT}
  tcp-request inspect-delay 5s
  tcp-request content accept if { req_ssl_sni -i good.example }
  tcp-request content reject
  default_backend good
backend good
  server good ${GOOD}:443
`,
  )
  return path
}

function residentMegabytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

async function untilLine(child: ChildProcess, pattern: RegExp): Promise<void> {
  if (!child.stderr) throw new Error('Egress has no log')
  for await (const line of createInterface({ input: child.stderr })) {
    if (!pattern.test(line)) continue
    child.stderr.resume()
    return
  }
  throw new Error(`Egress ended before ${pattern}`)
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await ended
}

function ask(socketPath: string, method: string, path: string, body?: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'OPENSANDBOX-EGRESS-AUTH': TOKEN }
    const asked = request({ socketPath, method, path, headers, timeout: COMMAND_MS }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      answer.on('end', () =>
        (answer.statusCode ?? 500) < 300
          ? resolve(text)
          : reject(new Error(`${method} ${path} was answered ${answer.statusCode}: ${text}`)),
      )
    })
    asked.on('timeout', () => asked.destroy(new Error(`no answer to ${method} ${path}`)))
    asked.on('error', reject)
    asked.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

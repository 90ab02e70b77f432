// What the benchmarks of egress have in common, on a machine of its own (egress-machine.ts): egress with one sandbox, a client behind a veth
// pair with NAT alone, which is also where the clients of the peers are, and the servers that all of them ask.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { EgressNetwork } from '../../lib/api/egress-admin.ts'
import { instanceOf, makeRunDir } from '../../lib/instance.ts'
import { endChild } from '../support/end-child.ts'
import { NAME_SERVER, startServers } from '../system/egress/internet.ts'
import type { BenchRow } from './table.ts'

const MAIN = join(import.meta.dirname, '../../egress/main.ts')
const CLIENT = join(import.meta.dirname, 'egress-client.py')
const COMMAND_MS = 60_000
/** Of what egress has said, when it ends too soon. */
const MAX_SAID = 2000
export const TOKEN = 'a-token-of-a-sandbox'
/** What the plain client is behind. */
const PLAIN = { client: '10.250.0.2', host: '10.250.0.1' }

const execute = promisify(execFile)
export const run = async (program: string, ...args: string[]) =>
  (await execute(program, args, { timeout: COMMAND_MS, maxBuffer: 1 << 24 })).stdout
const ip = (...args: string[]) => run('ip', ...args)

export type Lab = {
  folder: string
  namespaces: { internet: string; ours: string; plain: string }
  network: EgressNetwork
  egressPid: number
  admin(method: string, path: string, body?: unknown): Promise<string>
  policy(id: string, body: unknown): Promise<string>
  /** Writes the vault of a sandbox. */
  vault(id: string, body: unknown): Promise<string>
  /** A program that ends with the lab. */
  spawn(program: string, args: readonly string[]): ChildProcess
}

/** `egressToml` is more of the table `[egress]` of its configuration; `nameServer` is who it asks, if not the internet's. */
export async function openLab({
  internet,
  folder,
  cleanup,
  egressToml = '',
  nameServer = NAME_SERVER,
}: {
  internet: string
  folder: string
  cleanup: AsyncDisposableStack
  egressToml?: string
  nameServer?: string
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
    `[egress]\nupstream_dns = ["${nameServer}"]\n${egressToml}[egress.dns_limits]\nqueries_per_second = 100000\nburst = 100000\n`,
  )
  const egress = spawn(process.execPath, [MAIN, '--config', config, '--data-dir', dataDir], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  cleanup.defer(async () => {
    await endChild(egress)
    // With a sandbox registered, the process that keeps its rules stays.
    await run(process.execPath, MAIN, '--config', config, '--data-dir', dataDir, '--teardown')
  })
  await untilLine(egress, / ready /)
  const admin = (method: string, path: string, body?: unknown) =>
    ask(instance.egressSocket, method, path, body)
  const network = JSON.parse(await admin('GET', '/network')) as EgressNetwork
  const prefix = internet.replace(/-out$/, '')
  const namespaces = { internet, ours: `${prefix}-a`, plain: `${prefix}-b` }
  cleanup.defer(async () => {
    for (const name of [namespaces.ours, namespaces.plain]) await ip('netns', 'delete', name)
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
    credentialProxy: true,
    policy: {
      defaultAction: 'deny',
      egress: ['good.example', 'twin.example'].map((target) => ({ action: 'allow', target })),
    },
  })
  return {
    folder,
    namespaces,
    network,
    egressPid: egress.pid ?? 0,
    admin,
    policy: (id, body) => ask(instance.policySocket, 'PUT', `/sandboxes/${id}/policy`, body),
    vault: (id, body) => ask(instance.policySocket, 'POST', `/sandboxes/${id}/credential-vault`, body),
    spawn(program, args) {
      const child = spawn(program, args, { stdio: 'ignore' })
      cleanup.defer(async () => void (await endChild(child)))
      return child
    },
  }
}

/** Milliseconds, as the client in that namespace has measured them. */
export async function measure(namespace: string, ...args: string[]): Promise<number[]> {
  return JSON.parse(await run('ip', 'netns', 'exec', namespace, 'python3', CLIENT, ...args)) as number[]
}

export function row(
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

export function residentMegabytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

async function untilLine(child: ChildProcess, pattern: RegExp): Promise<void> {
  if (!child.stderr) throw new Error('Egress has no log')
  let said = ''
  for await (const line of createInterface({ input: child.stderr })) {
    said = `${said}\n${line}`.slice(-MAX_SAID)
    if (!pattern.test(line)) continue
    child.stderr.resume()
    return
  }
  throw new Error(`Egress ended before ${pattern}:${said}`)
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

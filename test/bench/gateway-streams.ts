// WebSockets through the gateway, beside HAProxy on the same core: what messages cost, and what connections do that say nothing.
// The load and the echo cost more than what is between them, so capacity is told by the processor time of the proxy.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { freePort } from '../support/edge.ts'
import { waitForPort } from '../support/wait-for-port.ts'
import {
  cpuSecondsOf,
  GatewayLab,
  maxProxied,
  privateBytesOf,
  type ReverseProxy,
  runLoad,
  whatIsMissing,
} from './gateway-lab.ts'
import { median } from './samples.ts'
import type { BenchRow } from './table.ts'

export const title = 'WebSockets through the gateway, one core'

const PEER = join(import.meta.dirname, 'websocket-peer.ts')
const CONNECTIONS = 64
const SECONDS = 3
const ROUNDS = 3
const IDLE = Math.min(10_000, maxProxied() - 50)
/** So many sandboxes share the idle ones, as one may have a bounded number. */
const IDLE_SANDBOXES = 20

export async function run(): Promise<BenchRow[]> {
  const missing = whatIsMissing(['haproxy'])
  if (missing) {
    console.log(`WebSockets: not measured, as they need ${missing}`)
    return []
  }
  await using lab = await GatewayLab.create()
  const echo = await freePort()
  lab.spawn('load', process.execPath, [PEER, 'echo', String(echo)])
  await waitForPort(echo)
  const hosts = Array.from({ length: IDLE_SANDBOXES }, (_, at) =>
    lab.route(`benchbenchbench${String.fromCharCode(97 + at)}`, echo),
  )
  const ours = await lab.startGateway(hosts[0] ?? '', `[front]\nmax_connections = ${2 * IDLE}\n`)
  const haproxy = await lab.startHaproxy(echo)

  const rates = new Map<ReverseProxy, number[]>([
    [ours, []],
    [haproxy, []],
  ])
  await ping(ours)
  for (let round = 0; round < ROUNDS; round++)
    for (const [proxy, samples] of rates) samples.push(await ping(proxy))
  const held = {
    ours: await hold(
      ours,
      hosts.map((host) => `${host}:${ours.port}`),
    ),
    haproxy: await hold(haproxy, [haproxy.host]),
  }
  const [rate, theirs] = [ours, haproxy].map((proxy) => median(rates.get(proxy) ?? [])) as [number, number]
  return [
    {
      name: 'messages there and back, by processor time',
      unit: '/s',
      ours: rate,
      peer: { name: 'HAProxy', value: theirs },
      budget: { min: 0.75 * theirs },
    },
    {
      name: `memory of each of ${IDLE} idle ones`,
      unit: 'KiB',
      ours: held.ours / IDLE / 1024,
      peer: { name: 'HAProxy', value: held.haproxy / IDLE / 1024 },
      budget: { max: 12 },
    },
  ]
}

/** Messages for each second of the proxy's processor time. */
async function ping(proxy: ReverseProxy): Promise<number> {
  const before = cpuSecondsOf(proxy)
  const args = [PEER, 'ping', String(proxy.port), proxy.host, String(CONNECTIONS), String(SECONDS)]
  const messages = Number(await runLoad(process.execPath, args))
  return messages / (cpuSecondsOf(proxy) - before)
}

/** Bytes that so many connections take that say nothing. */
async function hold(proxy: ReverseProxy, hosts: readonly string[]): Promise<number> {
  const before = privateBytesOf(proxy)
  const child = spawn(process.execPath, [PEER, 'hold', String(proxy.port), hosts.join(','), String(IDLE)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  const [first] = await Promise.race([once(child.stdout, 'data'), ended.then(() => [''])])
  if (String(first).trim() !== 'open') throw new Error('The idle connections could not be opened')
  const after = privateBytesOf(proxy)
  child.stdin.end()
  await ended
  return after - before
}

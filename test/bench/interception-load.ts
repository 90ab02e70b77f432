// What loads the ways to one server that the benchmark of interception compares, and what that costs the program in the middle.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './egress-lab.ts'
import { cpuSecondsOfProcess } from './process-cost.ts'

export const PROTOCOLS = ['HTTP/1.1', 'HTTP/2'] as const
export type Protocol = (typeof PROTOCOLS)[number]

/** A way from a client to the server. */
export type Way = {
  name: string
  namespace: string
  /** What the client asks for. */
  host: string
  address: string
  portOf: Record<Protocol, number>
  /** The program in the middle. */
  pid?: number
  /** Called before each measurement. */
  prepare?: () => Promise<void>
}

/** So many a second by the clock, and so many in a second of processor time of the program in the middle. */
export type Rate = { wall: number; cpu: number }

export const SERVER_PORT = 8443
export const BULK_BYTES = 2 ** 28
/** The program in the middle has one core, everything else the other. */
export const MIDDLE_CORE = 0
export const LOAD_CORE = 1
const TRANSFER_SECONDS = 50
/** Requests wait for their connections at first; what these take is measured by itself. */
const OPENING_MS = 500

/** Small requests on connections that stay open, as many as go. */
export function requestsOf(
  way: Way,
  { protocol, connections, seconds }: { protocol: Protocol; connections: number; seconds: number },
): Promise<Rate> {
  return rateOf(way, () => load(way, protocol, [`-c${connections}`, '-m1', `-D${seconds}`]))
}

/** A new connection for each small request. */
export function connectionsOf(way: Way, { lanes, count }: { lanes: number; count: number }): Promise<Rate> {
  return rateOf(way, () =>
    load(way, 'HTTP/1.1', [`-c${lanes}`, '-m1', `-n${count}`, '-H', 'Connection: close']),
  )
}

/** How long requests take on connections that are open, in milliseconds, when there are `rate` a second. */
export async function timesOf(
  way: Way,
  {
    protocol,
    connections,
    rate,
    seconds,
    folder,
  }: { protocol: Protocol; connections: number; rate: number; seconds: number; folder: string },
): Promise<number[]> {
  const log = join(folder, 'paced.log')
  writeFileSync(log, '')
  const each = Math.max(1, Math.round(rate / connections))
  const count = each * connections * seconds
  await load(way, protocol, [`-c${connections}`, '-m1', `-n${count}`, `--rps=${each}`, `--log-file=${log}`])
  const rows = readFileSync(log, 'latin1').trimEnd().split('\n')
  const all = rows.map(
    (row) => row.split('\t').map(Number) as [beganUs: number, status: number, tookUs: number],
  )
  const fromUs =
    all.reduce((first, [beganUs]) => Math.min(first, beganUs), Number.POSITIVE_INFINITY) + OPENING_MS * 1000
  return all.flatMap(([beganUs, , tookUs]) => (beganUs < fromUs ? [] : [tookUs / 1000]))
}

/** GB/s of one large body. */
export async function transferOf(
  way: Way,
  { protocol, direction, file }: { protocol: Protocol; direction: 'down' | 'up'; file: string },
): Promise<Rate> {
  const what =
    direction === 'down' ? ['https://HOST/bulk'] : ['-T', file, '-H', 'Expect:', 'https://HOST/sink']
  const rate = await rateOf(way, async () => {
    const text = await inside(way, 'curl', [
      ...['-sSk', '-o', '/dev/null', '-w', '%{http_code} %{http_version} %{time_total}'],
      ...['--max-time', String(TRANSFER_SECONDS), protocol === 'HTTP/2' ? '--http2' : '--http1.1'],
      ...['--connect-to', `${way.host}:${SERVER_PORT}:${way.address}:${way.portOf[protocol]}`],
      ...what.map((word) => word.replace('HOST', `${way.host}:${SERVER_PORT}`)),
    ])
    const [status, version, took] = text.split(' ')
    if (status !== '200' || version !== (protocol === 'HTTP/2' ? '2' : '1.1'))
      throw new Error(`The transfer by ${way.name} was answered ${status} by HTTP/${version}`)
    return { count: 1, seconds: Number(took) }
  })
  return { wall: (rate.wall * BULK_BYTES) / 1e9, cpu: (rate.cpu * BULK_BYTES) / 1e9 }
}

type Done = { count: number; seconds: number }

async function rateOf({ pid, prepare }: Way, act: () => Promise<Done>): Promise<Rate> {
  await prepare?.()
  const before = pid === undefined ? 0 : cpuSecondsOfProcess(pid)
  const { count, seconds } = await act()
  const spent = pid === undefined ? 0 : cpuSecondsOfProcess(pid) - before
  return { wall: count / seconds, cpu: spent === 0 ? Number.NaN : count / spent }
}

async function load(way: Way, protocol: Protocol, args: readonly string[]): Promise<Done> {
  const text = await inside(way, 'h2load', [
    ...(protocol === 'HTTP/1.1' ? ['--h1'] : []),
    ...args,
    `--connect-to=${way.address}:${way.portOf[protocol]}`,
    `https://${way.host}:${SERVER_PORT}/small`,
  ])
  const [, took = '', unit] = /finished in ([\d.]+)(us|ms|s),/.exec(text) ?? []
  const [, succeeded = '0'] = /^status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx$/m.exec(text) ?? []
  if (Number(succeeded) === 0 || !/ 0 failed, 0 errored, 0 timeout/.test(text))
    throw new Error(`The load by ${way.name} met errors:\n${text}`)
  const seconds = Number(took) * (unit === 's' ? 1 : unit === 'ms' ? 1e-3 : 1e-6)
  return { count: Number(succeeded), seconds }
}

function inside({ namespace }: Way, program: string, args: readonly string[]): Promise<string> {
  return run('taskset', '-c', String(LOAD_CORE), 'ip', 'netns', 'exec', namespace, program, ...args)
}

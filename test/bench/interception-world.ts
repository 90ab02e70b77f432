// The measuring of egress-interception.ts, on its machine: `interception-world.ts INTERNET FOLDER`. Writes rows.json into the folder. All
// ways are measured in turns, so that what disturbs one disturbs the others. The program in the middle has a core of its own.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openLab, row } from './egress-lab.ts'
import {
  connectionsOf,
  PROTOCOLS,
  type Protocol,
  type Rate,
  requestsOf,
  timesOf,
  transferOf,
  type Way,
} from './interception-load.ts'
import { bulkOf, egressTomlFor, openWays, type Ways } from './interception-ways.ts'
import { privateBytesOfProcess } from './process-cost.ts'
import { median, percentile } from './samples.ts'
import type { BenchRow } from './table.ts'

const ROUNDS = 3
const SECONDS = 2
/** For what one request in a hundred takes. */
const PACED_SECONDS = 4
/** Until programs that are compiled while they run have become as fast as they will. */
const WARM_SECONDS = 8
const CONNECTIONS = [1, 16, 64]
/** Of HAProxy's. */
const SHARE = 0.5
/** Of what it is without anything in between. */
const MAX_SLOWER = 3

if (import.meta.main) {
  const [internet = '', folder = ''] = process.argv.slice(2)
  await using cleanup = new AsyncDisposableStack()
  const lab = await openLab({ internet, folder, cleanup, egressToml: egressTomlFor(folder) })
  const ways = await openWays(lab)
  const rows: BenchRow[] = []
  for (const protocol of PROTOCOLS) {
    await requestsOf(ways.ours, { protocol, connections: 16, seconds: WARM_SECONDS })
    for (const connections of CONNECTIONS) rows.push(...(await measureRequests(ways, protocol, connections)))
    rows.push(...(await measureTimes(ways, protocol, folder)))
  }
  rows.push(...(await measureConnections(ways)))
  for (const protocol of PROTOCOLS)
    for (const direction of ['down', 'up'] as const)
      rows.push(...(await measureTransfers(ways, { protocol, direction, file: bulkOf(folder) })))
  rows.push(...memoryOf(ways))
  writeFileSync(join(folder, 'rows.json'), JSON.stringify(rows))
}

/** Each way so often, in turns; the first goes uncounted. */
async function inTurns(ways: readonly Way[], act: (way: Way) => Promise<Rate>): Promise<Map<Way, Rate>> {
  const rates = new Map<Way, Rate[]>(ways.map((way) => [way, []]))
  for (let round = -1; round < ROUNDS; round++)
    for (const [way, found] of rates) {
      const rate = await act(way)
      if (round >= 0) found.push(rate)
    }
  return new Map(
    [...rates].map(([way, found]) => [
      way,
      { wall: median(found.map(({ wall }) => wall)), cpu: median(found.map(({ cpu }) => cpu)) },
    ]),
  )
}

function rowsOf(name: string, unit: string, { ours, ...others }: Ways, rates: Map<Way, Rate>): BenchRow[] {
  const { wall, cpu } = rates.get(ours) ?? { wall: Number.NaN, cpu: Number.NaN }
  const { haproxy, plain, checked, mitmproxy } = others
  const peer = rates.get(haproxy)
  const rows: BenchRow[] = []
  if (peer)
    rows.push(
      row(`${name}, by processor time`, unit, cpu, { HAProxy: peer.cpu }, { min: SHARE * peer.cpu }),
      row(`${name}, by the clock`, unit, wall, { HAProxy: peer.wall }, { min: SHARE * peer.wall }),
    )
  for (const way of [plain, checked, mitmproxy]) {
    const rate = way && rates.get(way)
    if (!rate) continue
    rows.push(row('', unit, wall, { [`${way.name}, by the clock`]: rate.wall }))
    if (way.pid !== undefined) rows.push(row('', unit, cpu, { [`${way.name}, by processor time`]: rate.cpu }))
  }
  return rows
}

async function measureRequests(ways: Ways, protocol: Protocol, connections: number): Promise<BenchRow[]> {
  const { ours, haproxy, plain, checked, mitmproxy } = ways
  // One that is so slow need not be seen more often.
  const measured =
    connections === 16 ? [ours, haproxy, plain, checked, ...(mitmproxy ? [mitmproxy] : [])] : [ours, haproxy]
  const rates = await inTurns(measured, (way) => requestsOf(way, { protocol, connections, seconds: SECONDS }))
  return rowsOf(`small GETs by ${protocol}, ${connections} connections`, 'req/s', ways, rates)
}

/** At half of what ours can do. */
async function measureTimes(
  { ours, haproxy, plain }: Ways,
  protocol: Protocol,
  folder: string,
): Promise<BenchRow[]> {
  const connections = 16
  const { wall } = await requestsOf(ours, { protocol, connections, seconds: SECONDS })
  const paced = { protocol, connections, rate: wall / 2, seconds: PACED_SECONDS, folder }
  const times = new Map<Way, number[]>([ours, haproxy, plain].map((way) => [way, []]))
  for (let round = 0; round < ROUNDS; round++)
    for (const [way, found] of times) found.push(...(await timesOf(way, paced)))
  const at = (way: Way, share: number) => percentile(times.get(way) ?? [], share)
  const what = `by ${protocol} at half load (${Math.round(wall / 2)}/s)`
  return [
    row(`${what}, p50`, 'ms', at(ours, 0.5), { [plain.name]: at(plain, 0.5) }),
    row('', 'ms', at(ours, 0.5), { [haproxy.name]: at(haproxy, 0.5) }),
    row(
      `${what}, p99`,
      'ms',
      at(ours, 0.99),
      { [plain.name]: at(plain, 0.99) },
      { max: MAX_SLOWER * at(plain, 0.99) },
    ),
    row('', 'ms', at(ours, 0.99), { [haproxy.name]: at(haproxy, 0.99) }),
  ]
}

async function measureConnections(ways: Ways): Promise<BenchRow[]> {
  const { ours, haproxy, plain } = ways
  const rates = await inTurns([ours, haproxy, plain], (way) => connectionsOf(way, { lanes: 16, count: 1000 }))
  return rowsOf('new connections with a small GET each', '/s', ways, rates)
}

async function measureTransfers(
  ways: Ways,
  transfer: { protocol: Protocol; direction: 'down' | 'up'; file: string },
): Promise<BenchRow[]> {
  const { ours, haproxy, plain, checked } = ways
  const measured = transfer.direction === 'down' ? [ours, haproxy, plain, checked] : [ours, haproxy, plain]
  const rates = await inTurns(measured, (way) => transferOf(way, transfer))
  const what = transfer.direction === 'down' ? 'download' : 'upload'
  return rowsOf(`${what} of 256 MiB by ${transfer.protocol}`, 'GB/s', ways, rates)
}

/** What each has that is nobody else's, after all of it. */
function memoryOf({ ours, haproxy, mitmproxy }: Ways): BenchRow[] {
  const bytesOf = ({ pid = 0 }: Way) => privateBytesOfProcess(pid) / 2 ** 20
  return [haproxy, ...(mitmproxy ? [mitmproxy] : [])].map((way) =>
    row('private memory afterwards', 'MB', bytesOf(ours), { [way.name]: bytesOf(way) }),
  )
}

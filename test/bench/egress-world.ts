// The measuring of egress.ts, on its machine: `egress-world.ts INTERNET FOLDER`. Writes rows.json into the folder.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BULK_BYTES, GOOD, HOST, NAME_SERVER } from '../system/egress/internet.ts'
import { type Lab, measure, openLab, row, run } from './egress-lab.ts'
import { percentile } from './samples.ts'
import type { BenchRow } from './table.ts'

const HAPROXY_PORT = 8443
const ROUNDS = 4

if (import.meta.main) {
  const [internet = '', folder = ''] = process.argv.slice(2)
  await using cleanup = new AsyncDisposableStack()
  const lab = await openLab({ internet, folder, cleanup })
  startPeers(lab)
  const rows = [...(await measureNames(lab)), ...(await measureSetUp(lab)), ...(await measureTls(lab))]
  writeFileSync(join(folder, 'rows.json'), JSON.stringify(rows))
}

/** The name server and the name check that ours are beside. */
function startPeers(lab: Lab): void {
  lab.spawn('haproxy', ['-db', '-q', '-f', haproxyConfig(lab.folder)])
  lab.spawn(
    'dnsmasq',
    [
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--no-resolv',
      '--no-hosts',
      '--user=root',
      '--bind-interfaces',
    ].concat([`--listen-address=${HOST}`, `--server=${NAME_SERVER}`, '--except-interface=lo']),
  )
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

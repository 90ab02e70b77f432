// `npm run bench [name …]`: runs the benchmarks one after the other, prints a table for each, and writes all figures as JSON
// to the file named by OPENSANDBOX_BENCH_JSON. Nothing here passes or fails: it measures.

import { writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { type BenchRow, printTable } from './table.ts'

type Bench = { title: string; run(): Promise<BenchRow[]> }

const BENCHES: Record<string, () => Promise<Bench>> = {
  sandbox: () => import('./sandbox.ts'),
  runtimes: () => import('./runtimes.ts'),
  snapshots: () => import('./snapshots.ts'),
  execd: () => import('./execd.ts'),
  pty: () => import('./pty.ts'),
  code: () => import('./code.ts'),
  files: () => import('./files.ts'),
  gateway: () => import('./gateway.ts'),
  'gateway-streams': () => import('./gateway-streams.ts'),
  'gateway-routes': () => import('./gateway-routes.ts'),
  egress: () => import('./egress.ts'),
  'egress-interception': () => import('./egress-interception.ts'),
  'egress-many': () => import('./egress-many.ts'),
  list: () => import('./list.ts'),
  control: () => import('./control.ts'),
  pool: () => import('./pool.ts'),
  idle: () => import('./idle.ts'),
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in BENCHES))
if (unknown.length > 0) {
  console.error(`Unknown benchmark "${unknown.join('", "')}": there are ${Object.keys(BENCHES).join(', ')}`)
  process.exit(1)
}
console.log(
  `${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
)
const all: Record<string, BenchRow[]> = {}
for (const name of wanted.length > 0 ? wanted : Object.keys(BENCHES)) {
  const bench = await BENCHES[name]?.()
  if (!bench) continue
  const rows = await bench.run()
  printTable(bench.title, rows)
  all[name] = rows
}
const file = process.env.OPENSANDBOX_BENCH_JSON
if (file) writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`)
else console.log(JSON.stringify(all))

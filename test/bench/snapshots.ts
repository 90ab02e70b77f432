// Snapshots and forks of the local runtime: a snapshot beside `cp` of the same files, for a few large files and for many small ones,
// how long the sandbox does not answer meanwhile, and a fork of one into ten.

import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Edge, startEdge } from '../support/edge.ts'
import { type BenchSandbox, createSandbox, exec, removeSandbox } from './bench-sandbox.ts'
import { median, repeat, timeOf } from './samples.ts'
import type { BenchRow } from './table.ts'

const ROUNDS = 3
const FORKS = 10
const LOOK_EVERY_MS = 5
/** The first one is what the budget is about. */
const TREES = {
  '1 GB in 10 files': 'for i in $(seq 10); do head -c 100M /dev/urandom > /workspace/$i; done',
  '5,000 small files':
    'cd /workspace && for d in $(seq 50); do mkdir $d && (cd $d && seq 100 | split -l 1 -a 3 -); done',
}

export const title = 'Snapshots'

export async function run(): Promise<BenchRow[]> {
  const edge = await startEdge()
  try {
    const rows: BenchRow[] = []
    for (const [what, script] of Object.entries(TREES))
      rows.push(...(await measureTree(edge, { what, script, hasBudget: rows.length === 0 })))
    rows.push(...(await measureForks(edge)))
    return rows
  } finally {
    await edge.dispose()
  }
}

async function measureTree(
  edge: Edge,
  { what, script, hasBudget }: { what: string; script: string; hasBudget: boolean },
): Promise<BenchRow[]> {
  const source = await createSandbox(edge)
  await exec(source, script)
  const ours: number[] = []
  const peer: number[] = []
  const gaps: number[] = []
  // In turn, as other work on the machine comes and goes.
  for (let round = 0; round < ROUNDS; round++) {
    peer.push(await timeOf(async () => copyPlainly(edge, source)))
    rmSync(join(edge.dataDir, 'copy'), { recursive: true })
    const watching = watchGaps(source)
    let id = ''
    ours.push(
      await timeOf(async () => {
        id = await takeSnapshot(edge, source)
      }),
    )
    gaps.push(await watching.stop())
    await ask(edge, 'DELETE', `/v1/snapshots/${id}`)
  }
  await removeSandbox(edge, source)
  const cp = median(peer)
  return [
    {
      name: `snapshot of ${what}, until it is Ready`,
      unit: 'ms',
      ours: median(ours),
      peer: { name: 'cp -a', value: cp },
      ...(hasBudget && { budget: { max: Math.round(cp * 2) } }),
    },
    { name: `longest time without an answer meanwhile, ${what}`, unit: 'ms', ours: median(gaps) },
  ]
}

function copyPlainly(edge: Edge, { id }: BenchSandbox): void {
  const upper = join(edge.dataDir, 'sandboxes', id, 'upper')
  execFileSync('cp', ['-a', upper, join(edge.dataDir, 'copy')])
}

async function takeSnapshot(edge: Edge, { id }: BenchSandbox): Promise<string> {
  const taken = (await ask(edge, 'POST', `/v1/sandboxes/${id}/snapshots`)) as { id: string }
  for (;;) {
    const { status } = (await ask(edge, 'GET', `/v1/snapshots/${taken.id}`)) as { status: { state: string } }
    if (status.state === 'Ready') return taken.id
    if (status.state !== 'Creating') throw new Error(JSON.stringify(status))
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
}

/** Asks execd all the time; `stop` gives the longest time that it took to answer. */
function watchGaps({ execd, headers }: BenchSandbox): { stop: () => Promise<number> } {
  let isOver = false
  let longest = 0
  const watching = (async () => {
    while (!isOver)
      longest = Math.max(
        longest,
        await timeOf(async () => void (await (await fetch(`${execd}/ping`, { headers })).text())),
      )
  })()
  return {
    async stop() {
      isOver = true
      await watching
      return longest
    },
  }
}

async function measureForks(edge: Edge): Promise<BenchRow[]> {
  const source = await createSandbox(edge)
  await exec(source, 'echo kept > /workspace/f')
  const each = await repeat(ROUNDS, async () => {
    let items: { id: string }[] = []
    const took = await timeOf(async () => {
      const answer = await ask(edge, 'POST', `/v1/sandboxes/${source.id}/fork`, {
        count: FORKS,
        timeout: 600,
      })
      items = (answer as { items: { id: string }[] }).items
    })
    await Promise.all(items.map(({ id }) => ask(edge, 'DELETE', `/v1/sandboxes/${id}`)))
    return took / FORKS
  })
  return [
    { name: `fork of one into ${FORKS}, each, p50`, unit: 'ms', ours: median(each), budget: { max: 150 } },
  ]
}

async function ask(edge: Edge, method: string, path: string, body?: object): Promise<unknown> {
  const response = await fetch(`${edge.url}${path}`, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(60_000),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

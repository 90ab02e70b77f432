// How fast code runs in a context: a small cell from request to the end of its stream, and a context from request to a kernel
// that is ready. The peer is the same by ipykernel of a Jupyter server. Can be run alone: `node test/bench/code.ts`.

import { type Jupyter, startJupyter } from '../execd/code/jupyter-server.ts'
import { createContext, errorOf, runCode, stdoutOf } from '../execd/code/run.ts'
import { type Daemon, startDaemon } from '../execd/daemon.ts'
import { median, percentile, repeat, timeOf } from './samples.ts'
import { type BenchRow, printTable } from './table.ts'

export const title = 'Code contexts'

const WARM_UP = 100
const CELLS = 1000
const STARTS = 20
const OUTPUT_BYTES = 100_000_000

const CELL = { python: '1+1', javascript: '1+1', typescript: 'const n: number = 1; n + 1', bash: 'echo 2' }
type Language = keyof typeof CELL

export async function run(): Promise<BenchRow[]> {
  await using ours = await startDaemon()
  await using peer = await startPeer()
  const cells = await measureCells(ours, 'python')
  const peerCells = peer && (await measureCells(peer.execd, 'python'))
  const starts = await measureStarts(ours, 'python')
  const peerStarts = peer && (await measureStarts(peer.execd, 'python'))
  const rows: BenchRow[] = [
    {
      name: 'cell of python, p50',
      unit: 'ms',
      ours: median(cells),
      ...(peerCells ? { peer: { name: 'ipykernel', value: median(peerCells) } } : {}),
      budget: { max: 3 },
    },
    {
      name: 'cell of python, p99',
      unit: 'ms',
      ours: percentile(cells, 0.99),
      ...(peerCells ? { peer: { name: 'ipykernel', value: percentile(peerCells, 0.99) } } : {}),
    },
    {
      name: 'context of python, p50',
      unit: 'ms',
      ours: median(starts),
      ...(peerStarts ? { peer: { name: 'ipykernel', value: median(peerStarts) } } : {}),
    },
  ]
  for (const language of ['javascript', 'typescript', 'bash'] as const) {
    rows.push({
      name: `cell of ${language}, p50`,
      unit: 'ms',
      ours: median(await measureCells(ours, language)),
    })
    rows.push({
      name: `context of ${language}, p50`,
      unit: 'ms',
      ours: median(await measureStarts(ours, language)),
    })
  }
  rows.push({ name: 'output of python', unit: 'MB/s', ours: await measureOutput(ours) })
  return rows
}

/** An execd that runs code by a Jupyter server, where one can be installed. */
async function startPeer(): Promise<(AsyncDisposable & { execd: Daemon }) | undefined> {
  let jupyter: Jupyter
  try {
    jupyter = await startJupyter()
  } catch (error) {
    console.log(`no peer, as Jupyter cannot be installed: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
  const execd = await startDaemon({ env: { PATH: '/usr/bin:/bin', HOME: '/tmp', ...jupyter.env } })
  return {
    execd,
    async [Symbol.asyncDispose]() {
      await execd[Symbol.asyncDispose]()
      await jupyter[Symbol.asyncDispose]()
    },
  }
}

async function measureCells(execd: Daemon, language: Language): Promise<number[]> {
  const id = await createContext(execd, language)
  const cell = async () => {
    const error = errorOf(await runCode(execd, id, CELL[language]))
    if (error) throw new Error(`A cell of ${language} failed: ${error.evalue}`)
  }
  await repeat(WARM_UP, () => timeOf(cell))
  const samples = await repeat(CELLS, () => timeOf(cell))
  await remove(execd, id)
  return samples
}

async function measureStarts(execd: Daemon, language: Language): Promise<number[]> {
  return repeat(STARTS, async () => {
    let id = ''
    const ms = await timeOf(async () => {
      id = await createContext(execd, language)
    })
    await remove(execd, id)
    return ms
  })
}

async function measureOutput(execd: Daemon): Promise<number> {
  const id = await createContext(execd, 'python')
  let bytes = 0
  const ms = await timeOf(async () => {
    const code = `line = "x" * 99\nfor _ in range(${OUTPUT_BYTES / 100}): print(line)`
    bytes = stdoutOf(await runCode(execd, id, code)).length
  })
  if (bytes !== OUTPUT_BYTES) throw new Error(`Of ${OUTPUT_BYTES} bytes there came ${bytes}`)
  await remove(execd, id)
  return bytes / 1000 / ms
}

async function remove(execd: Daemon, id: string): Promise<void> {
  await (await execd.call(`/code/contexts/${id}`, { method: 'DELETE' })).arrayBuffer()
}

if (process.argv[1] === import.meta.filename) printTable(title, await run())

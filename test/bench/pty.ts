// How fast a terminal answers and how much comes through it: a key typed over a WebSocket until its echo is there, beside the
// same on a terminal in this process. Can be run alone: `node test/bench/pty.ts`.

import { writeSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { WebSocket } from 'ws'
import { loadTerminals } from '../../execd/pty/native.ts'
import { type Daemon, startDaemon } from '../execd/daemon.ts'
import { type BenchRow, printTable } from './table.ts'

export const title = 'Terminals'

const KEYS = 1000
/** A line that is too long would be cut by the kernel. */
const KEYS_PER_LINE = 100
const STARTS = 20
const BULK_BYTES = 64 << 20

/** A terminal to type on, which counts what comes back. */
type Typed = {
  type(text: string): void
  /** Resolves when so many bytes have come since the start. */
  until(bytes: number): Promise<void>
  close(): void
}

export async function run(): Promise<BenchRow[]> {
  await using execd = await startDaemon()
  const echo = await measureEcho(await connect(execd, { argv: ['cat'] }))
  const direct = await measureEcho(openDirect())
  const start = await measureStart(execd)
  const rate = await measureRate(execd)
  return [
    {
      name: 'key to echo, p50',
      unit: 'ms',
      ours: percentile(echo, 0.5),
      peer: { name: 'no WebSocket', value: percentile(direct, 0.5) },
      budget: { max: 2 },
    },
    {
      name: 'key to echo, p99',
      unit: 'ms',
      ours: percentile(echo, 0.99),
      peer: { name: 'no WebSocket', value: percentile(direct, 0.99) },
    },
    { name: 'create to first prompt, p50', unit: 'ms', ours: percentile(start, 0.5) },
    { name: 'output', unit: 'MB/s', ours: rate },
  ]
}

async function measureEcho(terminal: Typed): Promise<number[]> {
  const times: number[] = []
  let bytes = 0
  for (let key = 1; key <= KEYS; key++) {
    const startedAt = performance.now()
    terminal.type('x')
    bytes++
    await terminal.until(bytes)
    times.push(performance.now() - startedAt)
    if (key % KEYS_PER_LINE > 0) continue
    // The echo of the line break, and the line once more, as `cat` answers it.
    terminal.type('\n')
    bytes += 2 + KEYS_PER_LINE + 2
    await terminal.until(bytes)
  }
  terminal.close()
  return times
}

async function measureStart(execd: Daemon): Promise<number[]> {
  const times: number[] = []
  for (let count = 0; count < STARTS; count++) {
    const startedAt = performance.now()
    const terminal = await connect(execd, {})
    await terminal.until(1)
    times.push(performance.now() - startedAt)
    terminal.close()
  }
  return times
}

async function measureRate(execd: Daemon): Promise<number> {
  const command = `stty raw -echo; printf r; read -rn1 go; head -c ${BULK_BYTES} /dev/zero; read -rn1 end`
  const terminal = await connect(execd, { command })
  await terminal.until(1)
  const startedAt = performance.now()
  terminal.type('x')
  await terminal.until(1 + BULK_BYTES)
  const seconds = (performance.now() - startedAt) / 1000
  terminal.close()
  return BULK_BYTES / 1e6 / seconds
}

async function connect(execd: Daemon, body: Record<string, unknown>): Promise<Typed> {
  const created = await execd.call('/pty', { method: 'POST', body: JSON.stringify(body) })
  const { session_id: id } = (await created.json()) as { session_id: string }
  const ws = new WebSocket(`${execd.url.replace('http', 'ws')}/pty/${id}/ws`, {
    headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' },
    perMessageDeflate: false,
  })
  const counter = createCounter()
  ws.on('message', (data: Buffer, isBinary: boolean) => {
    if (isBinary) counter.add(data.length - 1)
  })
  await new Promise<void>((resolve, reject) => {
    ws.once('open', resolve)
    ws.once('error', reject)
  })
  return {
    type: (text) => ws.send(Buffer.from(`\0${text}`)),
    until: counter.until,
    close: () => ws.terminate(),
  }
}

/** What the kernel and this runtime take, without a connection. */
function openDirect(): Typed {
  const user = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const spec = { path: '/bin/cat', args: [], cwd: '/', env: {}, user, size: { cols: 80, rows: 24 } }
  const terminal = loadTerminals().open(spec)
  const stream = new ReadStream(terminal.fd)
  const counter = createCounter()
  stream.on('data', (chunk) => counter.add(chunk.length))
  stream.on('error', () => {})
  return {
    type: (text) => {
      writeSync(terminal.fd, text)
    },
    until: counter.until,
    close: () => stream.destroy(),
  }
}

function createCounter(): { add(count: number): void; until(bytes: number): Promise<void> } {
  let total = 0
  let waiting: { bytes: number; resolve: () => void } | undefined
  return {
    add: (count) => {
      total += count
      if (waiting && total >= waiting.bytes) waiting.resolve()
    },
    until: (bytes) =>
      total >= bytes
        ? Promise.resolve()
        : new Promise((resolve) => {
            waiting = { bytes, resolve }
          }),
  }
}

function percentile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

if (process.argv[1] === import.meta.filename) printTable(title, await run())

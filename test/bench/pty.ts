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
const STARTS = 20
const BULK_BYTES = 64 << 20
const INPUT = Buffer.from([0, 120])

export async function run(): Promise<BenchRow[]> {
  await using execd = await startDaemon()
  const echo = await measureEcho(execd)
  const direct = await measureDirectEcho()
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
    { name: 'create, connect, first prompt, p50', unit: 'ms', ours: percentile(start, 0.5) },
    { name: 'output', unit: 'MB/s', ours: rate },
  ]
}

async function measureEcho(execd: Daemon): Promise<number[]> {
  const ws = await connect(execd, { argv: ['cat'] })
  const times: number[] = []
  for (let count = 0; count < KEYS; count++) {
    const startedAt = performance.now()
    const echoed = nextBinary(ws)
    ws.send(INPUT)
    await echoed
    times.push(performance.now() - startedAt)
    // A line that is too long would be cut.
    if (count % 100 === 99) await answerOf(ws, '\n')
  }
  ws.terminate()
  return times
}

/** What the kernel and this runtime take, without a connection. */
async function measureDirectEcho(): Promise<number[]> {
  const user = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const spec = { path: '/bin/cat', args: [], cwd: '/', env: {}, user, size: { cols: 80, rows: 24 } }
  const terminal = loadTerminals().open(spec)
  const stream = new ReadStream(terminal.fd)
  stream.on('error', () => {})
  const times: number[] = []
  for (let count = 0; count < KEYS; count++) {
    const startedAt = performance.now()
    const echoed = new Promise((resolve) => stream.once('data', resolve))
    writeSync(terminal.fd, 'x')
    await echoed
    times.push(performance.now() - startedAt)
    if (count % 100 === 99) {
      const answered = new Promise((resolve) => stream.once('data', resolve))
      writeSync(terminal.fd, '\n')
      await answered
    }
  }
  process.kill(terminal.pid, 'SIGKILL')
  await terminal.exited
  stream.destroy()
  return times
}

async function measureStart(execd: Daemon): Promise<number[]> {
  const times: number[] = []
  for (let count = 0; count < STARTS; count++) {
    const startedAt = performance.now()
    const ws = await connect(execd, {})
    await nextBinary(ws)
    times.push(performance.now() - startedAt)
    ws.terminate()
  }
  return times
}

async function measureRate(execd: Daemon): Promise<number> {
  const ws = await connect(execd, { command: `stty raw; read -rn1 go; head -c ${BULK_BYTES} /dev/zero` })
  const startedAt = performance.now()
  let bytes = 0
  const taken = new Promise<void>((resolve) => {
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) bytes += data.length - 1
      if (bytes >= BULK_BYTES) resolve()
    })
  })
  ws.send(INPUT)
  await taken
  ws.terminate()
  return BULK_BYTES / 1e6 / ((performance.now() - startedAt) / 1000)
}

async function connect(execd: Daemon, body: Record<string, unknown>): Promise<WebSocket> {
  const created = await execd.call('/pty', { method: 'POST', body: JSON.stringify(body) })
  const { session_id: id } = (await created.json()) as { session_id: string }
  const ws = new WebSocket(`${execd.url.replace('http', 'ws')}/pty/${id}/ws`, {
    headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' },
    perMessageDeflate: false,
  })
  await new Promise<void>((resolve, reject) => {
    ws.once('error', reject)
    ws.once('message', () => resolve())
  })
  return ws
}

function nextBinary(ws: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    ws.once('close', () => reject(new Error('The connection was closed')))
    const take = (_data: unknown, isBinary: boolean) => {
      if (!isBinary) return
      ws.off('message', take)
      ws.removeAllListeners('close')
      resolve()
    }
    ws.on('message', take)
  })
}

/** Ends a line and waits until the program has answered with it. */
async function answerOf(ws: WebSocket, line: string): Promise<void> {
  let text = ''
  const answered = new Promise<void>((resolve) => {
    const take = (data: Buffer) => {
      text += data.subarray(1).toString()
      if ((text.match(/\n/g) ?? []).length < 2) return
      ws.off('message', take)
      resolve()
    }
    ws.on('message', take)
  })
  ws.send(Buffer.concat([Buffer.from([0]), Buffer.from(line)]))
  await answered
}

function percentile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

if (import.meta.main) {
  printTable(title, await run())
  process.exit()
}

// Handing on what a process writes. A process has ended when it has exited, even if a child that it left in the background
// still holds its pipes: what the process itself wrote is in the pipe by then, so one that stays empty over a turn of the
// event loop has given everything, and so has one that gave more than a pipe can hold. The pipes are read on afterwards,
// because a server left in the background must not die of its next log line.

import type { Readable } from 'node:stream'
import type { ProcessEnd, RunningProcess } from './process.ts'

/** The most that a pipe or socket pair holds (Linux: fs.pipe-max-size). */
const MAX_PIPE_BYTES = 1 << 20

export type OutputName = 'stdout' | 'stderr'

export type OutputSink = {
  /** Takes bytes. False asks to hold the writer back until `drained` resolves. */
  write(name: OutputName, bytes: Buffer): boolean
  drained(): Promise<void>
  /** Whether it also takes what children left in the background write later; else that goes nowhere. */
  lasting: boolean
  /** Nobody can write any more. */
  closed?(): void
}

/** Hands the output of `process` to `sink`; resolves when the process has ended and all that it wrote was handed on. */
export async function relayOutput(process: RunningProcess, sink: OutputSink): Promise<ProcessEnd> {
  let bytes = 0
  let open = 0
  let held: Promise<void> | undefined
  let isOver = false
  const attach = (stream: Readable, name: OutputName) => {
    open++
    stream.once('close', () => {
      open--
      if (open === 0) sink.closed?.()
    })
    // A broken pipe has nothing more to give; `close` follows.
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (isOver && !sink.lasting) return
      if (sink.write(name, chunk)) return
      stream.pause()
      held = sink.drained().then(() => {
        held = undefined
        stream.resume()
      })
    })
  }
  attach(process.stdout, 'stdout')
  if (process.stderr) attach(process.stderr, 'stderr')

  const end = await process.ended
  const most = bytes + (process.stderr ? 2 : 1) * MAX_PIPE_BYTES
  while (open > 0 && bytes < most) {
    if (held) await held
    const before = bytes
    await turn()
    await turn()
    if (bytes === before && !held) break
  }
  isOver = true
  return end
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

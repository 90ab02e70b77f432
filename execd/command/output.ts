// Handing on what a process writes. A process has ended when it has exited, even if a child that it left in the background
// still holds its pipes: what the process itself wrote is in the pipe by then, so one that stays empty over a turn of the
// event loop has given everything, and so has one that gave more than a pipe can hold. The pipes are read on afterwards,
// because a server left in the background must not die of its next log line.

import type { Readable } from 'node:stream'
import { turn } from '../timer.ts'
import type { ProcessEnd, RunningProcess } from './process.ts'

/** The most that a pipe or socket pair holds (Linux: fs.pipe-max-size). */
const MAX_PIPE_BYTES = 1 << 20
/** After one turn a stream that was paused is read again, after the next it has given what there was. */
const QUIET_TURNS = 2

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
export async function relayOutput(
  process: Pick<RunningProcess, 'stdout' | 'stderr' | 'ended'>,
  sink: OutputSink,
): Promise<ProcessEnd> {
  let bytes = 0
  let open = 0
  let hasEnded = false
  let isOver = false
  const streams = process.stderr ? [process.stdout, process.stderr] : [process.stdout]
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
      if (sink.write(name, chunk) || hasEnded) return
      stream.pause()
      void sink.drained().then(() => stream.resume())
    })
  }
  for (const [index, stream] of streams.entries()) attach(stream, index === 0 ? 'stdout' : 'stderr')

  const end = await process.ended
  // There is nobody left to hold back, and the rest is no more than pipes hold: the end does not wait for a slow reader.
  hasEnded = true
  for (const stream of streams) stream.resume()
  const most = bytes + streams.length * MAX_PIPE_BYTES
  while (open > 0 && bytes < most) {
    const before = bytes
    for (let count = 0; count < QUIET_TURNS; count++) await turn()
    if (bytes === before) break
  }
  isOver = true
  return end
}

/** Hands on what is still written after the end of a process; without a sink it is read and goes nowhere. */
export function relayLate(streams: Readable[], sink?: OutputSink): void {
  let open = streams.length
  if (open === 0) sink?.closed?.()
  for (const stream of streams)
    stream
      .on('error', () => {})
      .on('data', (chunk: Buffer) => sink?.write('stdout', chunk))
      .once('close', () => {
        open--
        if (open === 0) sink?.closed?.()
      })
}

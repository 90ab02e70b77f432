// A program on pipes instead of a terminal, for clients that want its two streams apart and its bytes as they are.

import type { Writable } from 'node:stream'
import { signalGroup } from '../command/end.ts'
import { type OutputSink, relayOutput } from '../command/output.ts'
import { type ProcessSpec, type ProcessStarter, startProcess } from '../command/process.ts'
import { type Input, MAX_WAITING_INPUT_BYTES, type OutputHandler, type Program } from './program.ts'

/** Starts a program on pipes. Rejects with StartError when it cannot be executed. */
export async function startOnPipes(
  starter: ProcessStarter,
  spec: Omit<ProcessSpec, 'output' | 'input'>,
  onOutput: OutputHandler,
): Promise<Program> {
  const started = await startProcess(starter, { ...spec, output: 'separate', input: true })
  let held: PromiseWithResolvers<void> | undefined
  const sink: OutputSink = {
    write: (stream, bytes) => {
      onOutput(stream, bytes)
      return held === undefined
    },
    drained: () => held?.promise ?? Promise.resolve(),
    lasting: false,
  }
  const release = () => {
    held?.resolve()
    held = undefined
  }
  if (!started.stdin) throw new Error(`Process ${started.pid} has no input`)
  // An end is told whoever holds back: what is left by then is bounded.
  void started.ended.then(release)
  return {
    mode: 'pipe',
    pid: started.pid,
    input: pipeInput(started.stdin),
    resize: () => {},
    signal: (name) => {
      signalGroup(started.pid, name)
    },
    hold: () => {
      held ??= Promise.withResolvers<void>()
    },
    release,
    ended: relayOutput(started, sink),
  }
}

function pipeInput(stream: Writable): Input {
  // A program that has closed its input is told by `push`.
  stream.on('error', () => {})
  return {
    push: (bytes) => {
      if (!stream.writable) return false
      stream.write(bytes)
      return true
    },
    get isFull() {
      return stream.writable && stream.writableLength >= MAX_WAITING_INPUT_BYTES
    },
    drained: () => {
      if (!stream.writable || !stream.writableNeedDrain) return Promise.resolve()
      return new Promise((resolve) => {
        const done = () => {
          stream.off('drain', done)
          stream.off('close', done)
          resolve()
        }
        stream.on('drain', done)
        stream.on('close', done)
      })
    },
    end: () => stream.end(),
  }
}

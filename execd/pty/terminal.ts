// A program on a terminal. Its end is told only after the last byte that it wrote: when nobody holds the terminal any more
// the kernel says so by EIO; when a child in the background still holds it, reading goes on until there is nothing to read,
// which is everything that the program wrote, as the kernel passes on what it has before it says that there is nothing.

import { chownSync, readFileSync, readSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import { signalGroup } from '../command/end.ts'
import { type ProcessStarter, StartError } from '../command/process.ts'
import { withScoreOfChildren } from '../oom.ts'
import type { TerminalSpec, Terminals } from './native.ts'
import type { OutputHandler, Program, ProgramEnd } from './program.ts'
import { TerminalInput } from './terminal-input.ts'

/** A child that floods the terminal from the background must not keep its end from being told. */
const MAX_LAST_BYTES = 1 << 20
/** The kernel gives a terminal's output in pieces of at most this size. */
const READ_BYTES = 4096
/** A piece that is about full is part of much output, which is handed on in larger pieces: each one is a frame for each client. */
const FULL_READ_BYTES = 4000
const MAX_MORE_BYTES = 28 << 10
/** How much of the output is looked at for why there was no program. */
const MAX_HEAD_CHARS = 1000
/** The native module tells what fails after the fork in the words of perror, on the terminal, and exits with 1. */
const FAILED_CHILD = /^(?:execvp|chdir|setgid|setuid)\(\d\) failed\.: (.+?)\r?\n$/

/** Starts a program on a new terminal. Throws StartError when that is not possible. */
export function startTerminal(
  terminals: Terminals,
  { oomScores }: ProcessStarter,
  spec: TerminalSpec,
  onOutput: OutputHandler,
): Program {
  const opened = withScoreOfChildren(oomScores, () => {
    try {
      return terminals.open(spec)
    } catch (error) {
      throw new StartError(`Cannot open a terminal: ${messageOf(error)}`, 126, { cause: error })
    }
  })
  const { fd, pid } = opened
  giveTo(spec, opened.path)
  const stream = new ReadStream(fd)
  const isOpen = () => !stream.destroyed
  const input = new TerminalInput(fd, isOpen)
  let head = ''
  const take = (bytes: Buffer) => {
    if (head.length < MAX_HEAD_CHARS) head += bytes.toString('latin1', 0, MAX_HEAD_CHARS)
    onOutput('stdout', bytes)
  }
  stream.on('data', (chunk: Buffer) => {
    take(chunk.length < FULL_READ_BYTES ? chunk : Buffer.concat([chunk, ...readMore(fd, MAX_MORE_BYTES)]))
    input.retry()
  })
  // EIO, the end; the stream closes by itself.
  stream.on('error', () => {})
  return {
    mode: 'pty',
    pid,
    input,
    resize: (size) => {
      if (isOpen()) terminals.resize(fd, size)
    },
    signal: (name) => {
      if (isOpen()) signalGroup(foregroundGroup(pid) ?? pid, name)
    },
    hold: () => stream.pause(),
    release: () => stream.resume(),
    ended: opened.exited.then((end) => {
      if (isOpen()) readRest(stream, fd, take)
      stream.destroy()
      input.close()
      return withFailure(end, head)
    }),
  }
}

/** The terminal's file belongs to who uses it, as after a login: some programs open it again by name. */
function giveTo({ user }: TerminalSpec, path: string): void {
  try {
    if (process.getuid?.() === 0) chownSync(path, user.uid, -1)
  } catch (error) {
    // Programs go on with what they were given; only opening it again by name fails.
    if (systemCodeOf(error) === undefined) throw error
  }
}

function readRest(stream: ReadStream, fd: number, take: (bytes: Buffer) => void): void {
  for (let chunk = stream.read() as Buffer | null; chunk; chunk = stream.read() as Buffer | null) take(chunk)
  for (const bytes of readMore(fd, MAX_LAST_BYTES)) take(bytes)
}

/** Everything that can be read at once, up to some `maxBytes`. */
function* readMore(fd: number, maxBytes: number): Generator<Buffer> {
  for (let total = 0; total < maxBytes; ) {
    const bytes = Buffer.allocUnsafe(READ_BYTES)
    let length: number
    try {
      length = readSync(fd, bytes)
    } catch {
      // EAGAIN: nothing more at the moment; EIO: nothing more ever, which the stream will be told as well.
      return
    }
    if (length === 0) return
    yield bytes.subarray(0, length)
    total += length
  }
}

/** The process group that the terminal's keys would reach, asked of the leader of its session. */
function foregroundGroup(pid: number): number | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    // It has just ended.
    return undefined
  }
  // A program chooses its name, which may hold spaces and parentheses. After it: state, parent, group, session, terminal.
  const group = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[5])
  return group > 1 ? group : undefined
}

function withFailure(end: ProgramEnd, head: string): ProgramEnd {
  const failure = end.exitCode === 1 ? FAILED_CHILD.exec(head)?.[1] : undefined
  return failure === undefined ? end : { ...end, failure }
}

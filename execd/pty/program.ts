// What a session runs, on a terminal or on pipes: one port for both, so that the session does not ask which it is.

import type { PtyMode, PtySignal } from '../../lib/api/execd-pty.ts'
import type { TerminalSize } from './native.ts'
import type { Stream } from './replay.ts'

/** More input than this waits for a program that does not read it only if it came in one piece. */
export const MAX_WAITING_INPUT_BYTES = 1 << 20

export type ProgramEnd = {
  /** -1 when a signal ended it. */
  exitCode: number
  signal?: NodeJS.Signals
  /** Why it has never begun. */
  failure?: string
}

export type Input = {
  /** Takes bytes. False when nobody can read them any more. */
  push(bytes: Buffer): boolean
  /** Whether more is waiting than should be. */
  readonly isFull: boolean
  /** Resolves when nothing is waiting any more, or nobody can read it. */
  drained(): Promise<void>
  /** Says that nothing follows. */
  end(): void
}

export type Program = {
  mode: PtyMode
  pid: number
  input: Input
  resize(size: TerminalSize): void
  /** To what the user has in front: on a terminal its foreground process group, else the program's own. */
  signal(name: PtySignal): void
  /** Reads no more of its output: once the kernel's buffer is full, the program waits. */
  hold(): void
  release(): void
  /** Resolves when it has ended and all its output was handed on. */
  ended: Promise<ProgramEnd>
}

export type OutputHandler = (stream: Stream, bytes: Buffer) => void

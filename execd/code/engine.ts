// What runs code: an engine starts kernels, a kernel runs one cell after the other and keeps what they define. There are two
// engines, our own interpreters and a Jupyter server (design of contract: execd.md 7); contexts know them only by this.

import type { StreamError } from '../../lib/api/execd.ts'

export const LANGUAGES = ['python', 'javascript', 'typescript', 'bash', 'go', 'java'] as const
export type Language = (typeof LANGUAGES)[number]

/** What a cell tells while it runs. Its end is the end of `execute`. */
export type CellEvent =
  | { type: 'stdout' | 'stderr'; text: string }
  | { type: 'execution_count'; count: number }
  /** By MIME type, plain text under `text/plain`; values that are not texts have been made JSON. */
  | { type: 'result'; results: Record<string, string> }
  | { type: 'error'; error: StreamError }

/** Takes events in order; a promise asks to hold back until it resolves. */
export type CellSink = (event: CellEvent) => void | Promise<void>

export type Kernel = {
  language: Language
  /**
   * Runs a cell; resolves at its end, also when the code failed, which is an `error` event. Rejects with KernelDied when the
   * kernel ended before the cell did. One cell at a time; the caller queues.
   */
  execute(code: string, sink: CellSink): Promise<void>
  /** Interrupts the running cell, as Ctrl-C does; nothing happens when there is none. */
  interrupt(): Promise<void>
  /** Resolves with the reason when the kernel has ended, by whatever cause. */
  ended: Promise<string>
  /** Ends the kernel and everything that it started. */
  close(graceMs: number): Promise<void>
}

export type KernelSpec = {
  language: Language
  cwd: string
  env: Record<string, string>
}

export type Engine = {
  name: 'builtin' | 'jupyter'
  /** Why the language cannot be run here, in words for the caller, or undefined when it can. */
  refusal(language: Language, env: Record<string, string>): Promise<string | undefined>
  /** Starts a kernel. Rejects with a refusal (ApiError) that says what is missing. */
  start(spec: KernelSpec, signal: AbortSignal): Promise<Kernel>
}

export class KernelDied extends Error {
  /** Whether the kernel may have run some of the cell; else the cell can be run by another one. */
  readonly hasBegun: boolean
  constructor(reason: string, { hasBegun = true } = {}) {
    super(reason)
    this.name = 'KernelDied'
    this.hasBegun = hasBegun
  }
}

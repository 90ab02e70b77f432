// Runs the programs that images are made with (skopeo, umoci, tar) and says what went wrong in one line.

import { spawn } from 'node:child_process'
import { RuntimeError } from '../runtime/runtime.ts'

const MAX_OUTPUT_BYTES = 1 << 20

export type ToolOptions = {
  signal: AbortSignal
  timeoutMs: number
  env?: Record<string, string>
  maxOutputBytes?: number
}

/** What a program printed. Rejects with ToolError when it fails, cannot be started, or takes too long. */
export function runTool(program: string, args: string[], options: ToolOptions): Promise<string> {
  const { signal, timeoutMs, maxOutputBytes = MAX_OUTPUT_BYTES } = options
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      // Children that outlive a deadline are ended as a group of their own.
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        LC_ALL: 'C',
        ...options.env,
      },
      signal,
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    })
    const output: Buffer[] = []
    let size = 0
    let errors = ''
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxOutputBytes) output.push(chunk)
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      errors = (errors + chunk).slice(-8192)
    })
    child.once('error', (error) =>
      reject(signal.aborted ? signal.reason : new ToolError(program, error.message)),
    )
    child.once('close', (code, killedBy) => {
      if (signal.aborted) reject(signal.reason)
      else if (code === 0) resolve(Buffer.concat(output).toString())
      else
        reject(
          new ToolError(program, killedBy ? `did not end within ${timeoutMs / 1000} s` : lastLine(errors)),
        )
    })
  })
}

/** A program failed; the message is the last line that it wrote. */
export class ToolError extends Error {
  readonly program: string
  constructor(program: string, message: string) {
    super(`${program}: ${message}`)
    this.name = 'ToolError'
    this.program = program
  }
}

/** A full disk is told as such, whatever hit it; anything else as `failure`. */
export function imageFailure(
  error: unknown,
  failure: 'image_pull_failed' | 'image_not_found',
  what: string,
): unknown {
  if (error instanceof RuntimeError) return error
  if (isNoSpace(error))
    return new RuntimeError('no_space', `${what}: no space left on the disk`, { cause: error })
  if (!(error instanceof ToolError)) return error
  return new RuntimeError(failure, `${what}: ${error.message}`, { cause: error })
}

/** Whether an error, or the program that made it, says that the disk is full. */
export function isNoSpace(error: unknown): boolean {
  return (
    error instanceof Error &&
    (('code' in error && error.code === 'ENOSPC') || /no space left on device/i.test(error.message))
  )
}

function lastLine(text: string): string {
  const line = text.trim().split('\n').at(-1) ?? ''
  // skopeo writes `time="…" level=fatal msg="…"`.
  const message = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]
  return (message?.replaceAll('\\"', '"') ?? line).slice(0, 1000) || 'failed without a word'
}

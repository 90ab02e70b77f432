// The one place that runs a program of the system (ip, mount, nft, runc, skopeo, tar): a list of arguments and never a
// shell's text, a deadline, bounded output, and the same environment whoever started us.

import { spawn } from 'node:child_process'
import { basename } from 'node:path'
import { messageOf, systemCodeOf } from './errors.ts'

export type RunOptions = {
  /** Aborting it kills the program; the promise then rejects with its reason. */
  signal?: AbortSignal
  timeoutMs?: number
  /** Written to the program's standard input; empty otherwise. */
  input?: string
  /** Added to PATH and LC_ALL. */
  env?: Record<string, string>
  maxOutputBytes?: number
  /**
   * `ignore` is for a program whose children keep its output open for as long as they live: nothing of it is read, and the
   * program's own exit is what is waited for.
   */
  output?: 'collect' | 'ignore'
}
export type RunResult = {
  code: number
  stdout: string
  /** The last 64 KiB of it. */
  stderr: string
}
export type RunProgram = (
  program: string,
  args: readonly string[],
  options?: RunOptions,
) => Promise<RunResult>

const DEFAULT_TIMEOUT_MS = 10_000
const DEFAULT_OUTPUT_BYTES = 16 << 20
const KEPT_ERROR_CHARACTERS = 64 << 10
/** Where programs are looked for. */
export const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const ENVIRONMENT = { PATH: SYSTEM_PATH, LC_ALL: 'C' }

/** A program failed, could not be started, took too long or wrote too much. `code` is that of the system error, if any. */
export class ProgramError extends Error {
  readonly program: string
  readonly code: string | undefined
  /** All that is kept of what it complained. */
  readonly stderr: string

  constructor(
    program: string,
    what: string,
    { cause, stderr = '' }: { cause?: unknown; stderr?: string } = {},
  ) {
    super(`${basename(program)}: ${what}`, cause === undefined ? undefined : { cause })
    this.name = 'ProgramError'
    this.program = program
    this.code = systemCodeOf(cause)
    this.stderr = stderr
  }
}

/**
 * Resolves with whatever exit code; rejects with ProgramError when the program did not run to its end. However it settles,
 * the program itself is gone by then.
 */
export const runProgram: RunProgram = (program, args, options = {}) => {
  const { signal, timeoutMs = DEFAULT_TIMEOUT_MS, maxOutputBytes = DEFAULT_OUTPUT_BYTES } = options
  const output = options.output === 'ignore' ? 'ignore' : 'pipe'
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const child = spawn(program, args, {
      stdio: [options.input === undefined ? 'ignore' : 'pipe', output, output],
      env: { ...ENVIRONMENT, ...options.env },
    })
    let stopped: { why: unknown } | undefined
    const stop = (why: unknown) => {
      stopped ??= { why }
      child.kill('SIGKILL')
      // Its children may hold these open for as long as they live.
      child.stdout?.destroy()
      child.stderr?.destroy()
    }
    const abort = () => stop(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    const timer = setTimeout(
      () => stop(new ProgramError(program, `did not end within ${timeoutMs / 1000} s`)),
      timeoutMs,
    )
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
    const chunks: Buffer[] = []
    let size = 0
    let errors = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxOutputBytes) stop(new ProgramError(program, `wrote more than ${maxOutputBytes} bytes`))
      else chunks.push(chunk)
    })
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      errors = (errors + chunk).slice(-KEPT_ERROR_CHARACTERS)
    })
    // A program that ends without reading its input is judged by its exit code.
    child.stdin?.on('error', () => {}).end(options.input)
    child.once('error', (cause) => {
      settle()
      reject(new ProgramError(program, `cannot be run: ${messageOf(cause)}`, { cause }))
    })
    child.once('exit', () => {
      if (!stopped) return
      settle()
      reject(stopped.why)
    })
    child.once(output === 'ignore' ? 'exit' : 'close', (code, killedBy) => {
      settle()
      if (code === null) reject(new ProgramError(program, `was ended by ${killedBy}`, { stderr: errors }))
      else resolve({ code, stdout: Buffer.concat(chunks).toString(), stderr: errors })
    })
  })
}

/** What the program printed, run `by` somebody else if need be. Rejects with ProgramError also when it ends with another code than 0. */
export async function outputOf(
  program: string,
  args: readonly string[],
  { by = runProgram, ...options }: RunOptions & { by?: RunProgram } = {},
): Promise<string> {
  const { code, stdout, stderr } = await by(program, args, options)
  if (code !== 0)
    throw new ProgramError(program, lastComplaint(basename(program), stderr) || `exit code ${code}`, {
      stderr,
    })
  return stdout
}

/** The last line of what a program complained that says something, cut to 1000 characters. */
function lastComplaint(name: string, text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !IDLE_TALK.test(line))
  const line = lines.at(-1)?.trim() ?? ''
  // skopeo writes `time="…" level=fatal msg="…"`.
  const message = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replaceAll('\\"', '"') ?? line
  return message.replace(`${name}: `, '').slice(0, 1000)
}

/** What mount and tar add at the end of what they say. */
const IDLE_TALK = /dmesg\(1\) may have|Exiting with failure status|Error is not recoverable: exiting/

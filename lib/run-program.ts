// The one place that runs a program of the system (ip, mount, nft, runc, skopeo, tar): a list of arguments and never a
// shell's text, a deadline, bounded output, and the same environment whoever started us.

import { spawn } from 'node:child_process'
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
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
}

/** A program failed, could not be started, took too long or wrote too much. `code` is that of the system error, if any. */
export class ProgramError extends Error {
  readonly program: string
  readonly code: string | undefined

  constructor(program: string, what: string, cause?: unknown) {
    super(`${program}: ${what}`, cause === undefined ? undefined : { cause })
    this.name = 'ProgramError'
    this.program = program
    this.code = systemCodeOf(cause)
  }
}

/** Resolves with whatever exit code; rejects with ProgramError when the program did not run to its end. */
export const runProgram: RunProgram = (program, args, options = {}) => {
  const { signal, timeoutMs = DEFAULT_TIMEOUT_MS, maxOutputBytes = DEFAULT_OUTPUT_BYTES } = options
  const output = options.output === 'ignore' ? 'ignore' : 'pipe'
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: [options.input === undefined ? 'ignore' : 'pipe', output, output],
      env: { ...ENVIRONMENT, ...options.env },
      killSignal: 'SIGKILL',
      ...(signal && { signal }),
    })
    let stopped: ProgramError | undefined
    const stop = (why: string) => {
      stopped ??= new ProgramError(program, why)
      child.kill('SIGKILL')
    }
    const timer = setTimeout(() => stop(`did not end within ${timeoutMs / 1000} s`), timeoutMs)
    const chunks: Buffer[] = []
    let size = 0
    let errors = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxOutputBytes) stop(`wrote more than ${maxOutputBytes} bytes`)
      else chunks.push(chunk)
    })
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      errors = (errors + chunk).slice(-KEPT_ERROR_CHARACTERS)
    })
    // A program that ends without reading its input is judged by its exit code.
    child.stdin?.on('error', () => {}).end(options.input)
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(
        signal?.aborted
          ? signal.reason
          : new ProgramError(program, `cannot be run: ${messageOf(error)}`, error),
      )
    })
    child.once(output === 'ignore' ? 'exit' : 'close', (code, killedBy) => {
      clearTimeout(timer)
      if (signal?.aborted) reject(signal.reason)
      else if (stopped) reject(stopped)
      else if (code === null) reject(new ProgramError(program, `was ended by ${killedBy}`))
      else resolve({ code, stdout: Buffer.concat(chunks).toString(), stderr: errors })
    })
  })
}

/** What the program printed. Rejects with ProgramError also when it ends with another code than 0. */
export async function outputOf(
  program: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<string> {
  const { code, stdout, stderr } = await runProgram(program, args, options)
  if (code !== 0) throw new ProgramError(program, lastLine(stderr) || `exit code ${code}`)
  return stdout
}

/** The last line of what a program complained, cut to 1000 characters. */
function lastLine(text: string): string {
  // mount adds a hint to what it says.
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.includes('dmesg(1) may have'))
  const line = lines.at(-1)?.trim() ?? ''
  // skopeo writes `time="…" level=fatal msg="…"`.
  const message = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]
  return (message?.replaceAll('\\"', '"') ?? line).slice(0, 1000)
}

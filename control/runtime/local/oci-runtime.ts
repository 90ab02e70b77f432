// The one place that starts the OCI runtime (`runc` or another with the same command line).

import { spawn } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RuntimeError } from '../runtime.ts'

export type OciRuntime = {
  create(
    id: string,
    options: { bundle: string; pidFile: string; log: string },
    signal: AbortSignal,
  ): Promise<void>
  start(id: string, signal: AbortSignal): Promise<void>
  pause(id: string, signal: AbortSignal): Promise<void>
  resume(id: string, signal: AbortSignal): Promise<void>
  /** Kills what runs and removes all that the runtime has made; fine when there is nothing. */
  delete(id: string, signal: AbortSignal): Promise<void>
}

const TIMEOUT_MS = 20_000

/** `program` is a name or a path; its state is kept under `root`. */
export function createOciRuntime(program: string, root: string): OciRuntime {
  const run = (args: string[], signal: AbortSignal) => runProgram(program, ['--root', root, ...args], signal)
  return {
    async create(id, { bundle, pidFile, log }, signal) {
      try {
        await runProgram(
          program,
          [
            '--root',
            root,
            '--log',
            log,
            '--log-format',
            'json',
            'create',
            '--bundle',
            bundle,
            '--pid-file',
            pidFile,
            id,
          ],
          signal,
          'ignore',
        )
      } catch (error) {
        signal.throwIfAborted()
        throw new RuntimeError(
          'start_failed',
          `Cannot start the sandbox: ${(await lastLogMessage(log)) ?? messageOf(error)}`,
          { cause: error },
        )
      }
    },
    start: (id, signal) => run(['start', id], signal),
    pause: (id, signal) => run(['pause', id], signal),
    resume: (id, signal) => run(['resume', id], signal),
    async delete(id, signal) {
      await run(['delete', '--force', id], signal)
      // A create that was killed may leave a directory that the runtime itself does not know.
      await rm(join(root, id), { recursive: true, force: true })
    },
  }
}

/**
 * Starts the program and resolves when it has ended well. `output: 'ignore'` is for `create`, whose container keeps the
 * descriptors of its creator for as long as it lives.
 */
function runProgram(
  program: string,
  args: string[],
  signal: AbortSignal,
  output: 'pipe' | 'ignore' = 'pipe',
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', output],
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      signal,
    })
    let errors = ''
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      errors = (errors + chunk).slice(-4096)
    })
    child.once('error', (error) =>
      reject(
        signal.aborted
          ? signal.reason
          : new RuntimeError('start_failed', `Cannot run "${program}": ${error.message}`),
      ),
    )
    child.once(output === 'pipe' ? 'close' : 'exit', (code, killedBy) => {
      if (signal.aborted) reject(signal.reason)
      else if (code === 0) resolve()
      else {
        const why = killedBy
          ? `did not end within ${TIMEOUT_MS / 1000} s`
          : errors.trim().split('\n').at(-1) || `exit code ${code}`
        reject(
          new RuntimeError(
            'start_failed',
            `${program} ${args[args.length - 1] === undefined ? '' : args.find((arg) => !arg.startsWith('-') && arg !== args[1])}: ${why}`,
          ),
        )
      }
    })
  })
}

async function lastLogMessage(path: string): Promise<string | undefined> {
  try {
    const lines = (await readFile(path, 'utf8')).trim().split('\n')
    const { msg } = JSON.parse(lines.at(-1) ?? '') as { msg?: string }
    return msg
  } catch {
    return undefined // it failed before it had a log
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

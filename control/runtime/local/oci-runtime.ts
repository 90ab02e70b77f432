// The one place that starts the OCI runtime (`runc` or another with the same command line).

import { readFile, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { messageOf } from '../../../lib/errors.ts'
import { outputOf, type RunProgram } from '../../../lib/run-program.ts'
import { RuntimeError } from '../runtime.ts'

export type OciRuntime = {
  /** Makes the container and starts its first process, whose id is then in `pidFile`. */
  run(
    id: string,
    options: { bundle: string; pidFile: string; log: string },
    signal: AbortSignal,
  ): Promise<void>
  /** Whether to pause is no more than to freeze the cgroup, so that we need not ask. */
  readonly pausesByFreezer: boolean
  pause(id: string, signal: AbortSignal): Promise<void>
  resume(id: string, signal: AbortSignal): Promise<void>
  /** Kills what runs and removes all that the runtime has made; fine when there is nothing. */
  delete(id: string, signal: AbortSignal): Promise<void>
}

const TIMEOUT_MS = 20_000
/** Others run sandboxes in a kernel of their own. */
const OF_THIS_KERNEL = new Set(['runc', 'crun'])

/** `program` is a name or a path; its state is kept under `root`. */
export function createOciRuntime(
  program: string,
  { root, run: by }: { root: string; run: RunProgram },
): OciRuntime {
  // It is Go, and does one thing after the other: threads for each processor only get into each other's way, and take a tenth of what a
  // create costs it. Others may live as long as their sandbox, which then has work for all.
  const alone = basename(program) === 'runc' ? { env: { GOMAXPROCS: '1' } } : {}
  const command = async (verb: string, args: string[], signal: AbortSignal) => {
    try {
      await outputOf(program, ['--root', root, verb, ...args], {
        signal,
        timeoutMs: TIMEOUT_MS,
        by,
        ...alone,
      })
    } catch (error) {
      signal.throwIfAborted()
      throw new RuntimeError('start_failed', `Cannot ${verb} the sandbox: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }
  const isOfThisKernel = OF_THIS_KERNEL.has(basename(program))
  // The kernel lets a user have 200 keys, and one of each sandbox would be one of the same user's. Nothing in it can use any (seccomp.ts).
  const keyring = isOfThisKernel ? ['--no-new-keyring'] : []
  return {
    async run(id, { bundle, pidFile, log }, signal) {
      const logging = ['--log', log, '--log-format', 'json']
      const args = ['run', '--detach', ...keyring, '--bundle', bundle, '--pid-file', pidFile, id]
      try {
        await outputOf(program, ['--root', root, ...logging, ...args], {
          signal,
          timeoutMs: TIMEOUT_MS,
          by,
          ...alone,
          // The container keeps the descriptors of its creator for as long as it lives.
          output: 'ignore',
        })
      } catch (error) {
        signal.throwIfAborted()
        const why = (await lastLogMessage(log)) ?? messageOf(error)
        throw new Error(why, { cause: error })
      }
    },
    pausesByFreezer: isOfThisKernel,
    pause: (id, signal) => command('pause', [id], signal),
    resume: (id, signal) => command('resume', [id], signal),
    async delete(id, signal) {
      await command('delete', ['--force', id], signal)
      // A create that was killed may leave a directory that the runtime itself does not know.
      await rm(join(root, id), { recursive: true, force: true })
    },
  }
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

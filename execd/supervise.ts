// The user's entrypoint as our child: started with the boot environment, its output kept in a bounded log, its end the end
// of the sandbox.

import { chownSync, mkdirSync, statSync } from 'node:fs'
import { systemCodeOf } from '../lib/errors.ts'
import { endLeader } from './command/end.ts'
import type { Journal } from './command/journal.ts'
import { relayOutput } from './command/output.ts'
import {
  type ProcessEnd,
  type ProcessStarter,
  StartError,
  startProcess,
  type UserIds,
} from './command/process.ts'
import { findProgram } from './command/program.ts'

export type EntrypointSpec = {
  argv: string[]
  env: Record<string, string>
  workdir: string
  user: UserIds
  log: Journal
}

export type Entrypoint = {
  pid: number
  ended: Promise<ProcessEnd>
  /** TERM to it, KILL to what is left of it after the grace. */
  end(graceMs: number): Promise<void>
}

/** Starts the entrypoint. Rejects with StartError, whose message says what is missing. */
export async function startEntrypoint(starter: ProcessStarter, spec: EntrypointSpec): Promise<Entrypoint> {
  makeWorkdir(spec.workdir, spec.user)
  const name = spec.argv[0] ?? ''
  const program = findProgram(name, spec.env.PATH, spec.workdir)
  if (!program.ok) throw new StartError(`Entrypoint: ${program.message}`, program.exitCode)
  const running = await startProcess(starter, {
    path: program.path,
    argv: spec.argv,
    cwd: spec.workdir,
    env: spec.env,
    user: spec.user,
    output: 'merged',
  })
  let hasEnded = false
  void running.ended.then(() => {
    hasEnded = true
  })
  const ended = relayOutput(running, spec.log.sink())
  return {
    pid: running.pid,
    ended,
    // The number of an ended process may be another one's by now; that of a group that has members may not.
    end: (graceMs) => (hasEnded ? running.end({ graceMs }) : endLeader(running.pid, running.ended, graceMs)),
  }
}

function makeWorkdir(path: string, user: UserIds): void {
  try {
    if (mkdirSync(path, { recursive: true }) !== undefined) chownSync(path, user.uid, user.gid)
    if (statSync(path).isDirectory()) return
  } catch (error) {
    throw new StartError(
      `Entrypoint: cannot make the working directory "${path}": ${systemCodeOf(error) ?? String(error)}`,
      126,
      { cause: error },
    )
  }
  throw new StartError(`Entrypoint: the working directory "${path}" is not a directory`, 126)
}

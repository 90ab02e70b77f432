// The user's entrypoint as our child: started with the boot environment, its output kept in a bounded log, its end the end
// of the sandbox. It outlives execd, and a later life of execd goes on watching it.

import { chownSync, statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { systemCodeOf } from '../lib/errors.ts'
import { endLeader } from './command/end.ts'
import type { Journal } from './command/journal.ts'
import { COMMAND_VARIABLE } from './command/marks.ts'
import { relayOutput } from './command/output.ts'
import {
  type ProcessEnd,
  type ProcessStarter,
  type RunningProcess,
  StartError,
  startProcess,
  type UserIds,
} from './command/process.ts'
import type { ProcessScanner } from './command/process-scanner.ts'
import { findProgram } from './command/program.ts'
import { adoptProcess } from './command/restore.ts'
import type { KeptProcess } from './keeper.ts'
import { makeDirectories } from './make-directories.ts'
import type { State } from './state.ts'

export type EntrypointSpec = {
  argv: string[]
  env: Record<string, string>
  workdir: string
  user: UserIds
  log: Journal
}

export type Entrypoint = {
  process: KeptProcess
  ended: Promise<ProcessEnd>
  /** TERM to it, KILL to what is left of it after the grace. */
  end(graceMs: number): Promise<void>
}

export type SuperviseOptions = {
  starter: ProcessStarter
  scanner: ProcessScanner
  state: State
  /** Its pipes, from an earlier life. */
  pipes: Socket[]
  /** How the one of an earlier life has ended, should that be known. */
  readEnd(): ProcessEnd | undefined
}

/** Starts the entrypoint, or finds the one that an earlier life has started. Rejects with StartError when it cannot be started. */
export async function superviseEntrypoint(
  spec: EntrypointSpec,
  { starter, scanner, state, pipes, readEnd }: SuperviseOptions,
): Promise<Entrypoint> {
  const { entrypoint } = state.before
  // Its mark tells it apart even if that life ended before it could note the number.
  const mark = state.life.id
  const known = entrypoint?.process ?? (entrypoint ? await findMarked(scanner, mark) : undefined)
  if (known) return watch(adoptProcess(known, pipes, readEnd), spec.log)
  state.note({ entrypoint: {} })
  const running = await start(starter, { ...spec, env: { ...spec.env, [COMMAND_VARIABLE]: mark } })
  const { pid, startTime, pipes: names } = running
  state.note({ entrypoint: { process: { pid, startTime, pipes: names } } })
  return watch(running, spec.log)
}

async function findMarked(scanner: ProcessScanner, mark: string) {
  const processes = await scanner.scan()
  const leader = processes.find(({ pid, session, marks }) => marks.command === mark && session === pid)
  return leader && { pid: leader.pid, startTime: leader.startTime, pipes: [] }
}

async function start(starter: ProcessStarter, spec: EntrypointSpec): Promise<RunningProcess> {
  makeWorkdir(spec.workdir, spec.user)
  const name = spec.argv[0] ?? ''
  const program = findProgram(name, spec.env.PATH, spec.workdir)
  if (!program.ok) throw new StartError(`Entrypoint: ${program.message}`, program.exitCode)
  return startProcess(starter, {
    path: program.path,
    argv: spec.argv,
    cwd: spec.workdir,
    env: spec.env,
    user: spec.user,
    output: 'merged',
  })
}

function watch(running: RunningProcess, log: Journal): Entrypoint {
  let hasEnded = false
  void running.ended.then(() => {
    hasEnded = true
  })
  return {
    process: running,
    ended: relayOutput(running, log.sink()),
    // The number of an ended process may be another one's by now; that of a group that has members may not.
    end: (graceMs) => (hasEnded ? running.end({ graceMs }) : endLeader(running.pid, running.ended, graceMs)),
  }
}

/** Makes the directory that processes of the sandbox begin in. Throws StartError when there is none. */
export function makeWorkdir(path: string, user: UserIds): void {
  try {
    if (makeDirectories(path) !== undefined) chownSync(path, user.uid, user.gid)
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

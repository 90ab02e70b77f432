// From what a client asks for to a process: who it is, where it begins, what it gets, and the shell if it is a line for one.

import { chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Surroundings } from '../surroundings.ts'
import { removeFile } from './journal-files.ts'
import { COMMAND_VARIABLE } from './marks.ts'
import { type RunningProcess, StartError, startProcess, type UserIds } from './process.ts'
import { findProgram, findShell } from './program.ts'
import type { CommandRequest } from './request.ts'

/** A longer line does not fit into one argument (Linux: 128 KiB) and goes to the shell as a file. */
const MAX_LINE_BYTES = 120_000

/** What is ready to be executed: everything that could be refused has been. */
export type Prepared = { cwd: string; env: Record<string, string>; user: UserIds }

/** Throws a refusal for what cannot be. */
export function prepareCommand(
  { identity, environment, resolveCwd }: Surroundings,
  request: CommandRequest,
  id: string,
): Prepared {
  const user = identity(request.uid, request.gid)
  const env = environment(user, request.envs)
  const cwd = resolveCwd(request.cwd, env)
  return { env: { ...env, [COMMAND_VARIABLE]: id }, user, cwd }
}

export type Launch = {
  surroundings: Surroundings
  /** Where a line that is too long for an argument is put. */
  dir: string
  request: CommandRequest
  prepared: Prepared
  id: string
}

/** Starts a command. Rejects with StartError when it cannot be. */
export async function launchCommand(launch: Launch): Promise<RunningProcess> {
  const { surroundings, request, prepared } = launch
  const { cwd, env, user } = prepared
  const { run } = request
  const program = 'argv' in run ? findProgram(run.argv[0] ?? '', env.PATH, cwd) : findShell(env.PATH, cwd)
  if (!program.ok) throw new StartError(program.message, program.exitCode)
  return startProcess(surroundings.starter, {
    path: program.path,
    argv: 'argv' in run ? run.argv : shellArgv(program.path, run.line, launch),
    cwd,
    env,
    user,
    output: request.background ? 'merged' : 'separate',
  })
}

/** Whether the line of a command goes to the shell as a file. */
export function needsScript({ run }: CommandRequest): boolean {
  return 'line' in run && run.line.length > MAX_LINE_BYTES / 4 && Buffer.byteLength(run.line) > MAX_LINE_BYTES
}

export function removeScript(dir: string, id: string): void {
  removeFile(scriptPath(dir, id))
}

function shellArgv(shell: string, line: string, { dir, request, prepared, id }: Launch): string[] {
  if (!needsScript(request)) return [shell, '-c', line]
  const path = scriptPath(dir, id)
  mkdirSync(dir, { recursive: true, mode: 0o711 })
  writeFileSync(path, line, { mode: 0o600, flag: 'wx' })
  chownSync(path, prepared.user.uid, prepared.user.gid)
  return [shell, path]
}

function scriptPath(dir: string, id: string): string {
  return join(dir, `${id}.sh`)
}

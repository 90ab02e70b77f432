// From what a client asked for to a running program: who runs it, with what environment, where, and on what.

import { basename } from 'node:path'
import type { PtyMode } from '../../lib/api/execd-pty.ts'
import { ownedEnvironment } from '../command/marks.ts'
import { StartError, type UserIds } from '../command/process.ts'
import { type FoundProgram, findProgram, findShell } from '../command/program.ts'
import { resolvePath } from '../files/path.ts'
import { makeCwd } from '../make-cwd.ts'
import type { Surroundings } from '../surroundings.ts'
import type { TerminalSize, Terminals } from './native.ts'
import { startOnPipes } from './pipe-program.ts'
import type { OutputHandler, Program } from './program.ts'
import type { PtyRequest } from './request.ts'
import { startTerminal } from './terminal.ts'

/** What a terminal is taken for when nobody says: clients of our time are in the manner of xterm, and in UTF-8. */
const DEFAULT_TERM = 'xterm-256color'
const DEFAULT_LANG = 'C.UTF-8'

export type Launcher = {
  surroundings: Surroundings
  /** Loads the native modules at the first terminal. */
  terminals(): Terminals
}

/** The absolute directory of a session, made if it is missing. Throws a refusal when it cannot be. */
export function prepareCwd({ surroundings }: Launcher, request: PtyRequest): string {
  const { workdir, home, identity, environment } = surroundings
  const user = identity(request.uid, request.gid)
  if (request.cwd === undefined) return workdir
  const cwd = resolvePath(request.cwd, { env: environment(user, request.envs), home, cwd: workdir })
  makeCwd(cwd, user)
  return cwd
}

/** Starts the program of a session. Throws StartError, or a refusal, when it cannot be. */
export async function launch(
  launcher: Launcher,
  { request, cwd, mode, size }: { request: PtyRequest; cwd: string; mode: PtyMode; size: TerminalSize },
  onOutput: OutputHandler,
): Promise<Program> {
  const { surroundings } = launcher
  const user = surroundings.identity(request.uid, request.gid)
  const env = environmentOf(surroundings, request, user)
  makeCwd(cwd, user)
  const { path, args } = decideProgram(request.run, env.PATH, cwd)
  if (mode === 'pipe')
    return startOnPipes(surroundings.starter, { path, argv: [path, ...args], cwd, env, user }, onOutput)
  const spec = { path, args, cwd, env, user, size }
  return startTerminal(launcher.terminals(), surroundings.starter, spec, onOutput)
}

function environmentOf(
  surroundings: Surroundings,
  request: PtyRequest,
  user: UserIds,
): Record<string, string> {
  const env = surroundings.environment(user, request.envs)
  const hasLocale = env.LANG !== undefined || env.LC_ALL !== undefined || env.LC_CTYPE !== undefined
  return {
    TERM: DEFAULT_TERM,
    ...(hasLocale ? {} : { LANG: DEFAULT_LANG }),
    ...env,
    ...ownedEnvironment(surroundings, 'pty'),
  }
}

/** The program with its arguments. A shell that nobody chose starts without the files that would change it. */
export function decideProgram(
  run: PtyRequest['run'],
  path: string | undefined,
  cwd: string,
): { path: string; args: string[] } {
  if ('argv' in run) {
    const [name = '', ...args] = run.argv
    return { path: pathOf(findProgram(name, path, cwd)), args }
  }
  const shell = pathOf(run.shell ? findProgram(run.shell, path, cwd) : findShell(path, cwd))
  const isOurBash = !run.shell && basename(shell) === 'bash'
  return {
    path: shell,
    args: [...(isOurBash ? ['--norc', '--noprofile'] : []), ...(run.line ? ['-c', run.line] : [])],
  }
}

function pathOf(found: FoundProgram): string {
  if (found.ok) return found.path
  throw new StartError(found.message, found.exitCode)
}

// What all processes of the user's have in common, whichever route starts them: who they are, what environment they get, where
// they begin. Commands, sessions, terminals and kernels ask here, so that the same request means the same everywhere.

import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs'
import type { Logger } from '../lib/log.ts'
import { parseEnvironmentFile } from './command/environment.ts'
import type { Life } from './command/marks.ts'
import type { ProcessStarter, UserIds } from './command/process.ts'
import { type PathContext, resolvePath } from './files/path.ts'
import { execdError } from './http/answer.ts'
import { createRandomId } from './random-id.ts'
import type { Users } from './users.ts'

const MAX_ENV_FILE_BYTES = 1 << 20

/** What is execd's own to know, or a secret of its engines: no process of the user's but the entrypoint gets it. */
const OWN_VARIABLES = [
  'EXECD_ACCESS_TOKEN',
  'EXECD_ISOLATION_CONFIG',
  'EXECD_LIFECYCLE_CONFIG',
  'EXECD_RUNTIME_INIT',
  'JUPYTER_TOKEN',
  'OPENSANDBOX_LIFECYCLE',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_EXPORTER_OTLP_METRICS_HEADERS',
]

export type SurroundingsOptions = {
  /** The complete environment that the sandbox was started with, what is execd's own included. */
  bootEnv: Record<string, string>
  /** Where clients add variables for later processes; it need not exist. */
  envFile: string
  workdir: string
  /** Who runs what names nobody. */
  user: UserIds
  users: Users
  starter: ProcessStarter
  /** A directory of execd's own, writable. */
  dir: string
  /** Directories that are never removed or replaced. */
  vital: string[]
  /** Which life of execd this is; without it the first of one that is never restarted. */
  life?: Life
  log: Logger
}

export type Surroundings = SurroundingsOptions & {
  life: Life
  /** The environment below everything that a request adds, without what is execd's own. */
  env: Record<string, string>
  home: string
  /** How paths of clients are read. */
  paths: PathContext
  /** The user of these numbers with its groups; without `uid` the one of the sandbox. */
  identity(uid?: number, gid?: number): UserIds
  /** The environment of a process: boot, then env file, then HOME and names of a user other than the sandbox's, then `envs`. */
  environment(user: UserIds, envs?: Record<string, string>): Record<string, string>
  /** The directory that `cwd` means, the working directory if it says nothing. Throws a refusal when there is none. */
  resolveCwd(cwd: string | undefined, env: Record<string, string>): string
}

export function createSurroundings(options: SurroundingsOptions): Surroundings {
  const { bootEnv, envFile, workdir, user, users } = options
  const env = { ...bootEnv }
  for (const name of OWN_VARIABLES) delete env[name]
  const home = env.HOME ?? '/'

  const readEnvironmentFile = (who: UserIds): Record<string, string> => {
    const text = readSmallFile(envFile, who)
    return text ? parseEnvironmentFile(text, env) : {}
  }

  const identity = (uid?: number, gid?: number): UserIds => {
    // A number that nobody has gets a group of its own number, never the group of root.
    const ids = uid === undefined ? user : { uid, gid: gid ?? users.byUid(uid)?.gid ?? uid }
    const name = users.byUid(ids.uid)?.name
    return name && ids.uid !== 0 ? { ...ids, groups: users.supplementaryGroups(name) } : ids
  }

  return {
    ...options,
    life: options.life ?? { id: createRandomId(), number: 1 },
    env,
    home,
    paths: { env, home, cwd: workdir },
    identity,
    environment: (who, envs = {}) => {
      const base = { ...env, ...readEnvironmentFile(who) }
      if (who.uid === user.uid) return { ...base, ...envs }
      // Nobody gets the names and the home of someone else, whose files are not for them.
      const { USER: _user, LOGNAME: _logname, ...rest } = base
      const known = users.byUid(who.uid)
      const account = known ? { HOME: known.home, USER: known.name, LOGNAME: known.name } : { HOME: '/' }
      return { ...rest, ...account, ...envs }
    },
    resolveCwd: (cwd, processEnv) => {
      const path = cwd === undefined ? workdir : resolvePath(cwd, { env: processEnv, home, cwd: workdir })
      const stat = statSync(path, { throwIfNoEntry: false })
      if (stat?.isDirectory()) return path
      throw execdError(
        'INVALID_REQUEST_BODY',
        stat
          ? `working directory "${path}" is not a directory`
          : `working directory "${path}" does not exist`,
      )
    },
  }
}

/**
 * Reads the environment file; undefined when there is none. What is there may be changed at any time by the user whose it is, so
 * root gets nothing of a file that others may write: `LD_PRELOAD` in it would make them root.
 */
function readSmallFile(path: string, reader: UserIds): string | undefined {
  let fd: number
  try {
    // At a pipe, execd would otherwise wait for whoever has put it there.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch {
    return undefined
  }
  try {
    const found = fstatSync(fd)
    if (!found.isFile()) return undefined
    if (reader.uid === 0 && (found.uid !== 0 || (found.mode & 0o022) !== 0)) return undefined
    if (found.size > MAX_ENV_FILE_BYTES)
      throw execdError(
        'RUNTIME_ERROR',
        `The environment file "${path}" is larger than ${MAX_ENV_FILE_BYTES} bytes`,
      )
    const bytes = Buffer.alloc(found.size)
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0))
  } finally {
    closeSync(fd)
  }
}

// Starting programs without a copy of execd. Node forks: the kernel copies the page tables of execd, and execd pays again for
// every page that it writes to afterwards, which together is most of what a short command costs. posix_spawn(3) lends the child
// our memory until its program begins, and costs a fifth (docs/decisions/c-library.md). It can do what most commands need; the rest
// goes to Node.

import { constants } from 'node:fs'
import { type Libc, signalName, systemError } from '../libc.ts'
import type { ProcessEnd } from './process.ts'

// From <spawn.h> and <sys/wait.h>, the same on every architecture of Linux.
const SETSIGDEF = 0x04
const SETSIGMASK = 0x08
const SETSID = 0x80
const WNOHANG = 1
/** More than the structures of any C library have. */
const STRUCTURE_BYTES = 1024
const SIGNAL_SET_BYTES = 128

export type SpawnSpec = {
  /** The program as an absolute path. */
  path: string
  argv: string[]
  cwd: string
  env: Record<string, string>
  /** Descriptors of ours. */
  stdout: number
  stderr: number
}

export type Spawned = { pid: number; ended: Promise<ProcessEnd> }

type Functions = {
  spawn: (...args: unknown[]) => number
  wait: (...args: unknown[]) => number
  initActions: (...args: unknown[]) => number
  addOpen: (...args: unknown[]) => number
  addDup: (...args: unknown[]) => number
  addChdir: (...args: unknown[]) => number
  destroyActions: (...args: unknown[]) => number
}

/** Starts programs as leaders of their own sessions, as the user that execd is, with no input and all signals as they are at birth. */
export class Spawner {
  readonly #functions: Functions
  readonly #attributes: Buffer
  readonly #running = new Map<number, (end: ProcessEnd) => void>()

  constructor(libc: Libc) {
    this.#functions = findFunctions(libc)
    this.#attributes = makeAttributes(libc)
    process.on('SIGCHLD', () => this.#reap())
  }

  /** Throws an error with the system's code when the program cannot be executed. */
  spawn({ path, argv, cwd, env, stdout, stderr }: SpawnSpec): Spawned {
    const { spawn, initActions, addOpen, addDup, addChdir, destroyActions } = this.#functions
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    const actions = Buffer.alloc(STRUCTURE_BYTES)
    check('posix_spawn_file_actions_init', initActions(actions))
    const pid = [0]
    try {
      check('posix_spawn_file_actions_addopen', addOpen(actions, 0, '/dev/null', constants.O_RDONLY, 0))
      check('posix_spawn_file_actions_adddup2', addDup(actions, stdout, 1) || addDup(actions, stderr, 2))
      check('posix_spawn_file_actions_addchdir_np', addChdir(actions, cwd))
      check('posix_spawn', spawn(pid, path, actions, this.#attributes, [...argv, null], [...variables, null]))
    } finally {
      destroyActions(actions)
    }
    const [child = 0] = pid
    return { pid: child, ended: new Promise((resolve) => this.#running.set(child, resolve)) }
  }

  /** Asks for each of ours by its number: the others are Node's. */
  #reap(): void {
    const status = [0]
    for (const [pid, resolve] of this.#running) {
      const found = this.#functions.wait(pid, status, WNOHANG)
      if (found === 0) continue
      this.#running.delete(pid)
      resolve(found === pid ? readStatus(status[0] ?? 0) : { exitCode: -1, isUnseen: true })
    }
  }
}

/** How a process ended, by the number that wait(2) gives. */
export function readStatus(status: number): ProcessEnd {
  const signal = status & 0x7f
  return signal === 0 ? { exitCode: (status >> 8) & 0xff } : { exitCode: -1, signal: signalName(signal) }
}

function findFunctions(libc: Libc): Functions {
  return {
    spawn: libc.func(
      'int posix_spawn(_Out_ int *pid, const char *path, void *actions, void *attributes, const char **argv, const char **env)',
    ),
    wait: libc.func('int waitpid(int pid, _Out_ int *status, int options)'),
    initActions: libc.func('int posix_spawn_file_actions_init(void *actions)'),
    addOpen: libc.func(
      'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)',
    ),
    addDup: libc.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int as)'),
    addChdir: libc.func('int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)'),
    destroyActions: libc.func('int posix_spawn_file_actions_destroy(void *actions)'),
  }
}

function makeAttributes(libc: Libc): Buffer {
  const attributes = Buffer.alloc(STRUCTURE_BYTES)
  const init = libc.func('int posix_spawnattr_init(void *attributes)')
  const setFlags = libc.func('int posix_spawnattr_setflags(void *attributes, short flags)')
  const setDefaults = libc.func('int posix_spawnattr_setsigdefault(void *attributes, void *signals)')
  const setMask = libc.func('int posix_spawnattr_setsigmask(void *attributes, void *signals)')
  check('posix_spawnattr_init', init(attributes))
  // Node ignores SIGPIPE, and what is ignored stays so in the child.
  check('posix_spawnattr_setsigdefault', setDefaults(attributes, Buffer.alloc(SIGNAL_SET_BYTES, 0xff)))
  check('posix_spawnattr_setsigmask', setMask(attributes, Buffer.alloc(SIGNAL_SET_BYTES)))
  check('posix_spawnattr_setflags', setFlags(attributes, SETSID | SETSIGDEF | SETSIGMASK))
  return attributes
}

function check(call: string, errorNumber: number): void {
  if (errorNumber !== 0) throw systemError(call, errorNumber)
}

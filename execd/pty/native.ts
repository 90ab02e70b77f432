// The native module of terminals; no other file touches it. node-pty's own binding forks a program on a new terminal. It
// leaves our end of the terminal open in every process that execd starts afterwards, another user's or an isolated session's
// included, so it is marked to be closed there (docs/decisions/terminal-descriptors.md). node-pty's
// JavaScript is not used: it looks for its binding in node_modules, and writes in a way that blocks execd when a program does
// not read.

import { closeSync } from 'node:fs'
import type { UserIds } from '../command/process.ts'
import { loadNativeModule, openLibc, signalName } from '../libc.ts'

/** From <fcntl.h>, the same on every architecture of Linux. */
const F_SETFD = 2
const FD_CLOEXEC = 1
/** Says to the binding that the child stays who we are. */
const SAME_ID = -1
/** Used by the binding on macOS alone. */
const NO_HELPER = ''

export type TerminalSize = { cols: number; rows: number }

export type TerminalSpec = {
  /** The program as an absolute path, which is also what it sees itself called by. */
  path: string
  args: string[]
  cwd: string
  env: Record<string, string>
  user: UserIds
  size: TerminalSize
}

export type OpenTerminal = {
  pid: number
  /** Our end: reads and writes do not block, and whoever has opened it closes it. */
  fd: number
  /** The program's end. */
  path: string
  exited: Promise<{ exitCode: number; signal?: NodeJS.Signals }>
}

type PtyBinding = {
  fork(
    file: string,
    args: string[],
    env: string[],
    cwd: string,
    cols: number,
    rows: number,
    uid: number,
    gid: number,
    isUtf8: boolean,
    helper: string,
    onExit: (code: number, signal: number) => void,
  ): { fd: number; pid: number; pty: string }
  resize(fd: number, cols: number, rows: number): void
}

export type Terminals = {
  /** Starts a program as the leader of a session whose terminal is new. Throws when there is no terminal to be had. */
  open(spec: TerminalSpec): OpenTerminal
  resize(fd: number, size: TerminalSize): void
}

/** Loads the modules. Throws when one is missing or made for another machine. */
export function loadTerminals(): Terminals {
  const pty = loadNativeModule<PtyBinding>('pty')
  const libc = openLibc()
  const fcntl = libc.func('int fcntl(int fd, int command, ...)')
  const fork = (spec: TerminalSpec): OpenTerminal => {
    const isRoot = process.getuid?.() === 0
    const exited = Promise.withResolvers<{ exitCode: number; signal?: NodeJS.Signals }>()
    const {
      fd,
      pid,
      pty: path,
    } = pty.fork(
      spec.path,
      spec.args,
      Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
      spec.cwd,
      spec.size.cols,
      spec.size.rows,
      isRoot ? spec.user.uid : SAME_ID,
      isRoot ? spec.user.gid : SAME_ID,
      true,
      NO_HELPER,
      (code, signal) => {
        const name = signal === 0 ? undefined : signalName(signal)
        exited.resolve(name ? { exitCode: -1, signal: name } : { exitCode: code })
      },
    )
    if (fcntl(fd, F_SETFD, 'int', FD_CLOEXEC) !== 0) {
      // Without our end the terminal is gone, and its program with it.
      closeSync(fd)
      throw new Error('The descriptor of a terminal cannot be marked')
    }
    return { pid, fd, path, exited: exited.promise }
  }
  return {
    // The binding changes user and group in the child, but not the other groups, so the child is born with them.
    open: (spec) => withGroups(spec.user.groups ?? [], () => fork(spec)),
    resize: (fd, { cols, rows }) => pty.resize(fd, cols, rows),
  }
}

function withGroups<T>(groups: number[], act: () => T): T {
  const own = process.getgroups?.() ?? []
  if (process.getuid?.() !== 0 || String(own) === String(groups)) return act()
  try {
    process.setgroups?.(groups)
  } catch (error) {
    // Where the kernel lets nobody change groups, there are none to be got rid of.
    if (groups.length > 0) throw error
    return act()
  }
  try {
    return act()
  } finally {
    process.setgroups?.(own)
  }
}

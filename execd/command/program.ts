// Finding the program to run, as a shell would, but with an answer that can be shown to a person.

import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export type FoundProgram =
  | { ok: true; path: string }
  /** 127: there is none; 126: it is there, but cannot be executed. */
  | { ok: false; exitCode: 126 | 127; message: string }

/** The file that `name` stands for: a path when it has a slash, else the first match in the absolute entries of `path`. */
export function findProgram(name: string, path: string | undefined, cwd: string): FoundProgram {
  if (name.includes('/')) return check(isAbsolute(name) ? name : resolve(cwd, name), name)
  let found: FoundProgram | undefined
  for (const dir of (path ?? DEFAULT_PATH).split(':')) {
    if (!isAbsolute(dir)) continue
    const candidate = check(join(dir, name), name)
    if (candidate.ok) return candidate
    if (candidate.exitCode === 126) found ??= candidate
  }
  return (
    found ?? {
      ok: false,
      exitCode: 127,
      message: `Cannot find the program "${name}" in PATH "${path ?? DEFAULT_PATH}"`,
    }
  )
}

/** `bash` when there is one, else `sh`. */
export function findShell(path: string | undefined, cwd: string): FoundProgram {
  const bash = findProgram('bash', path, cwd)
  if (bash.ok) return bash
  const sh = findProgram('sh', path, cwd)
  if (sh.ok) return sh
  const message = `Cannot run a command line as neither "bash" nor "sh" is in PATH "${path ?? DEFAULT_PATH}": send "argv" instead of "command"`
  return { ok: false, exitCode: 127, message }
}

/** Why a program that exists did not start, in words: a missing interpreter or loader also says "no such file". */
export function explainStartFailure(path: string, code: string | undefined): string {
  if (code === 'ENOENT') {
    const interpreter = interpreterOf(path)
    return interpreter
      ? `Cannot execute "${path}" as its interpreter "${interpreter}" is missing`
      : `Cannot execute "${path}" as the loader or library that it asks for is missing`
  }
  if (code === 'ENOEXEC')
    return `Cannot execute "${path}": it is neither a program for this machine nor a script with "#!"`
  if (code === 'EACCES') return `Cannot execute "${path}": permission denied`
  if (code === 'E2BIG') return `Cannot execute "${path}": its arguments and environment are too long`
  if (code === 'EAGAIN') return `Cannot execute "${path}": the limit of processes is reached`
  if (code === 'EMFILE' || code === 'ENFILE')
    return `Cannot execute "${path}": the limit of open files is reached`
  if (code === 'ENOMEM') return `Cannot execute "${path}": out of memory`
  return `Cannot execute "${path}": ${code ?? 'unknown error'}`
}

function check(path: string, name: string): FoundProgram {
  try {
    if (statSync(path).isDirectory())
      return { ok: false, exitCode: 126, message: `Cannot execute "${name}": it is a directory` }
    accessSync(path, constants.X_OK)
    return { ok: true, path }
  } catch (error) {
    if (systemCodeOf(error) === 'EACCES')
      return { ok: false, exitCode: 126, message: `Cannot execute "${name}": permission denied` }
    return { ok: false, exitCode: 127, message: `Cannot find the program "${name}"` }
  }
}

function interpreterOf(path: string): string | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const head = Buffer.alloc(256)
    const length = readSync(fd, head)
    return /^#![ \t]*([^\s]+)/.exec(head.toString('latin1', 0, length))?.[1]
  } catch {
    // It could not be executed either; the caller says so.
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

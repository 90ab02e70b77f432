// What a runtime asks of the machine it runs on.

import { existsSync, readFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { SYSTEM_PATH } from '../../lib/run-program.ts'

export const SECCOMP_PROFILE = '/usr/share/containers/seccomp.json'

const OPEN_FILES = 65_536

export type Machine = {
  uid: number
  /** Whether a file or program is there. */
  has(path: string): boolean
  filesystems: string
}

/** The machine that this process runs on. */
export function thisMachine(): Machine {
  return {
    uid: process.getuid?.() ?? -1,
    has: existsSync,
    filesystems: readFileSync('/proc/filesystems', 'utf8'),
  }
}

/** Whether a program, by its name or path, is where programs are looked for. */
export function hasProgram(machine: Machine, name: string): boolean {
  return (isAbsolute(name) ? [name] : SYSTEM_PATH.split(':').map((folder) => join(folder, name))).some(
    (path) => machine.has(path),
  )
}

/** What a sandbox's processes may have open: no more than this one may, as raising a limit takes a capability that root may lack. */
export function openFilesLimit(): number {
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return hard ? Math.min(OPEN_FILES, Number(hard)) : OPEN_FILES
}

// Where execd finds what belongs to it. In a sandbox everything lies in the runtime directory (control/runtime/guest-dir.ts):
// execd's own chunks, `assets/` beside them, the machine's programs under `bin/`, and Node, all run by the loader under `lib/`.
// Run from its sources, execd has `assets/` beside this file and takes programs from the system.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const BASE = import.meta.dirname

/** The absolute path of a file under `execd/assets`. */
export function assetPath(name: string): string {
  return join(BASE, 'assets', name)
}

/** The command that runs a program of the host, such as `setpriv`, whatever the image has. */
export function hostProgram(name: string): string[] {
  const program = join(BASE, 'bin', name)
  return existsSync(program) ? byLoader(program) : [`/usr/bin/${name}`]
}

/** The command that runs Node itself. */
export function nodeProgram(): string[] {
  const program = join(BASE, 'bin', 'node')
  return existsSync(program) ? byLoader(program) : [process.execPath]
}

/** The native module of terminals. */
export function nativePtyPath(): string {
  const bundled = join(BASE, 'lib', 'pty.node')
  return existsSync(bundled)
    ? bundled
    : join(BASE, '../node_modules/@lydell', `node-pty-linux-${process.arch}`, 'pty.node')
}

function byLoader(program: string): string[] {
  const { loader } = JSON.parse(readFileSync(join(BASE, 'layout.json'), 'utf8')) as { loader: string }
  return [join(BASE, loader), '--library-path', join(BASE, 'lib'), program]
}

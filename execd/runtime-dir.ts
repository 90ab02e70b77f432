// Where execd finds what belongs to it. In a sandbox everything lies in the runtime directory (control/runtime/guest-dir.ts):
// execd's own chunks, `assets/` beside them, the machine's programs under `bin/`, and Node, all run by the loader under `lib/`.
// Run from its sources, execd has `assets/` beside this file and takes programs from the system.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

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

/** The absolute path of another program of execd's own, for Node to run. */
export function programPath(name: string): string {
  const bundled = join(BASE, `${name}.js`)
  return existsSync(bundled) ? bundled : join(BASE, `${name}.ts`)
}

/** The directory in which all of this lies. */
export function runtimeRoot(): string {
  return existsSync(join(BASE, 'layout.json')) ? BASE : dirname(BASE)
}

/** The command that runs Node itself. */
export function nodeProgram(): string[] {
  const program = join(BASE, 'bin', 'node')
  return existsSync(program) ? byLoader(program) : [process.execPath]
}

/** A native module: `pty` of node-pty opens terminals, `koffi` calls C functions. */
export function nativeModulePath(name: 'pty' | 'koffi'): string {
  const bundled = join(BASE, 'lib', `${name}.node`)
  if (existsSync(bundled)) return bundled
  const { arch } = process
  const path = { pty: `@lydell/node-pty-linux-${arch}`, koffi: `@koromix/koffi-linux-${arch}/linux_${arch}` }
  return join(BASE, '../node_modules', path[name], `${name}.node`)
}

function byLoader(program: string): string[] {
  const { loader } = JSON.parse(readFileSync(join(BASE, 'layout.json'), 'utf8')) as { loader: string }
  return [join(BASE, loader), '--library-path', join(BASE, 'lib'), program]
}

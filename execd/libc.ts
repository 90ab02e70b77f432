// Functions of the C library that Node has no name for, called through koffi (docs/decisions/c-library.md).

import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { nativeModulePath } from './runtime-dir.ts'

/** The C library, by the prototypes of its functions. */
export type Libc = {
  func(prototype: string): (...args: unknown[]) => number
  /** The number of the last call's error. */
  errno(): number
}

type Koffi = {
  /** Null: what is loaded already. */
  load(library: null): Pick<Libc, 'func'>
  errno(): number
}

/** Loads a native module of the runtime directory. Throws when it is missing or made for another machine. */
export function loadNativeModule<T>(name: 'pty' | 'koffi'): T {
  const module = { exports: {} }
  process.dlopen(module, nativeModulePath(name))
  return module.exports as T
}

/** Throws when this machine has no module for it. */
export function openLibc(): Libc {
  const koffi = loadNativeModule<Koffi>('koffi')
  const library = koffi.load(null)
  return { func: (prototype) => library.func(prototype), errno: () => koffi.errno() }
}

/** What makes a FIFO that is ours alone. It throws an error with the system's code. */
export function createFifoMaker(libc: Libc): (path: string) => void {
  const mkfifo = libc.func('int mkfifo(const char *path, unsigned int mode)')
  return (path) => {
    if (mkfifo(path, 0o600) !== 0) throw systemError('mkfifo', libc.errno())
  }
}

/** An error of a call to the system, as Node's are. */
export function systemError(call: string, number: number): Error {
  const code = getSystemErrorName(-number)
  return Object.assign(new Error(`${code}: ${call}`), { code })
}

/** The name of a signal; of one that has none, of the one that nothing survives. */
export function signalName(number: number): NodeJS.Signals {
  const found = Object.entries(constants.signals).find(([, value]) => value === number)
  return (found?.[0] ?? 'SIGKILL') as NodeJS.Signals
}

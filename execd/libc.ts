// Functions of the C library that Node has no name for, called through koffi (docs/decisions/c-library.md).

import { constants } from 'node:os'
import { nativeModulePath } from './runtime-dir.ts'

/** The C library, by the prototypes of its functions. Each gives what the function returns; none of them sets `errno` for us. */
export type Libc = { func(prototype: string): (...args: unknown[]) => number }

type Koffi = {
  /** Null: what is loaded already. */
  load(library: null): Libc
}

/** Loads a native module of the runtime directory. Throws when it is missing or made for another machine. */
export function loadNativeModule<T>(name: 'pty' | 'koffi'): T {
  const module = { exports: {} }
  process.dlopen(module, nativeModulePath(name))
  return module.exports as T
}

/** Throws when this machine has no module for it. */
export function openLibc(): Libc {
  return loadNativeModule<Koffi>('koffi').load(null)
}

/** The name of a signal; of one that has none, of the one that nothing survives. */
export function signalName(number: number): NodeJS.Signals {
  const found = Object.entries(constants.signals).find(([, value]) => value === number)
  return (found?.[0] ?? 'SIGKILL') as NodeJS.Signals
}

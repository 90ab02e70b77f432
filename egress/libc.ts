// Functions of the C library that Node has no name for, called through koffi (docs/decisions/c-library.md).

import { createRequire } from 'node:module'
import { getSystemErrorName } from 'node:util'

export type LibraryCall = {
  (...args: unknown[]): number
  /** On another thread, with what it has given back; why it failed is not known then. */
  async(...args: [...unknown[], (error: unknown, result: number) => void]): void
}

export type Libc = {
  func(prototype: string): LibraryCall
  /** What a call has given back; throws with the system's reason when that is less than zero. */
  check(name: string, result: number): number
  /** Why the last call of this thread failed, as the system calls it. */
  reason(): string
}

type Koffi = {
  /** Null: what is loaded already. */
  load(library: null): Pick<Libc, 'func'>
  errno(): number
}

/** Throws when there is no module for this machine. */
export function openLibc(): Libc {
  const koffi = loadKoffi()
  const library = koffi.load(null)
  const reason = () => getSystemErrorName(-koffi.errno())
  return {
    func: (prototype) => library.func(prototype),
    check(name, result) {
      if (result < 0) throw new Error(`${name} failed: ${reason()}`)
      return result
    },
    reason,
  }
}

function loadKoffi(): Koffi {
  const name = `@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`
  try {
    return createRequire(import.meta.url)(name) as Koffi
  } catch (error) {
    throw new Error(`the module "${name}" cannot be loaded: run npm install`, { cause: error })
  }
}

// Functions of the C library, called through koffi: Node has no names for some of what the kernel can do (docs/decisions/c-library.md).

import { createRequire } from 'node:module'
import { getSystemErrorName } from 'node:util'

export type CFunction = {
  (...args: unknown[]): number
  /** On a thread of the pool; why it failed is not known afterwards. What it is given must live until then. */
  async(...args: [...unknown[], (error: Error | null, result: number) => void]): void
}

export type CLibrary = {
  func(prototype: string): CFunction
  /** What a call has given back; throws with the system's reason when that is less than zero. */
  check(name: string, result: number): number
  /** Why the last call on this thread failed, as `ENOENT`. */
  code(): string
}

type Koffi = {
  /** Null: what is loaded already. */
  load(library: null): Pick<CLibrary, 'func'>
  errno(): number
}

/** Throws when there is no module for this machine. */
export function openCLibrary(): CLibrary {
  const koffi = loadKoffi()
  const library = koffi.load(null)
  const code = () => getSystemErrorName(-koffi.errno())
  return {
    func: (prototype) => library.func(prototype),
    check(name, result) {
      if (result < 0) throw new Error(`${name} failed: ${code()}`)
      return result
    },
    code,
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

// Functions of the C library, called through koffi: Node has no names for some of what the kernel can do (docs/decisions/c-library.md).

import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'

export type CFunction = {
  (...args: unknown[]): number
  /** On a thread of the pool; why it failed is not known afterwards. What it is given must live until then. */
  async(...args: [...unknown[], (error: Error | null, result: number) => void]): void
}

export type CLibrary = {
  func(prototype: string): CFunction
  /** Why the last call on this thread failed, as `ENOENT`. */
  code(): string
}

type Koffi = { load(library: null): { func(prototype: string): CFunction }; errno(): number }

const MODULE = join(
  import.meta.dirname,
  `../node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`,
)

/** Throws when this machine has no module for it. */
export function openCLibrary(): CLibrary {
  const module = { exports: {} }
  process.dlopen(module, MODULE)
  const koffi = module.exports as Koffi
  const library = koffi.load(null)
  return {
    func: (prototype) => library.func(prototype),
    code: () => getSystemErrorName(-koffi.errno()),
  }
}

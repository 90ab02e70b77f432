// One archive being unpacked, entry by entry, whatever its format.

import { join } from 'node:path'
import type { Pace } from '../turns.ts'
import { ArchiveError, type Content } from './archive.ts'
import type { ContainedTree } from './contained.ts'
import { leadsOut, splitEntryName } from './entry.ts'
import type { TarHead } from './tar-format.ts'

const MAX_ENTRIES = 500_000

/** What an entry must tell of itself. */
export type EntryHead = Pick<TarHead, 'name' | 'type' | 'mode' | 'size' | 'mtimeMs' | 'target'>

export type UnpackerOptions = {
  tree: ContainedTree
  /** Where the tree will be. */
  dir: string
  /** Directories that nothing is written to. */
  vital: string[]
  /** Whether links that lead out of the tree are made; nothing is ever written through them. */
  keepLinks: boolean
  maxBytes: number
  pace: Pace
}

export class Unpacker {
  readonly #options: UnpackerOptions
  #entries = 0
  #bytes = 0

  constructor(options: UnpackerOptions) {
    this.#options = options
  }

  async take(head: EntryHead, content: Content): Promise<void> {
    const { tree, pace, maxBytes } = this.#options
    if (pace.isDue) await pace.rest()
    if (++this.#entries > MAX_ENTRIES) throw new ArchiveError(`it has more than ${MAX_ENTRIES} entries`)
    this.#bytes += head.size
    // Asked before a byte of it is written.
    if (this.#bytes > maxBytes) throw new ArchiveError(`what is in it has more than ${maxBytes} bytes`)
    const path = splitEntryName(head.name)
    // The directory itself.
    if (path.length === 0) return
    const shown = head.name.toWellFormed()
    this.#refuseVital(path, shown)
    if (head.type === 'directory') tree.makeDirectory(path, head)
    else if (head.type === 'file') await tree.makeFile(path, head, content)
    else if (head.type === 'hardlink') await tree.makeHardlink(path, splitEntryName(head.target))
    else if (head.type === 'symlink') {
      if (!this.#options.keepLinks && leadsOut(path, head.target))
        throw new ArchiveError(
          `"${shown}" is a link that leads out of the directory, to "${head.target.toWellFormed()}" ("links=keep" makes such links)`,
        )
      await tree.makeSymlink(path, head.target, head.mtimeMs)
    } else throw new ArchiveError(`"${shown}" is neither a file nor a directory nor a link`)
  }

  #refuseVital(path: string[], shown: string): void {
    const { dir, vital } = this.#options
    const place = join(dir, ...path)
    if (vital.some((one) => place === one || place.startsWith(`${one}/`)))
      throw new ArchiveError(`"${shown}" lies in a directory that execd needs`)
  }
}

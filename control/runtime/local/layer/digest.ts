// The digest of a layer: SHA-256 over all that it holds, in the order of its names, as its sandbox sees it. Two layers with the same
// files have the same one, wherever their blocks lie: blocks of nothing but zeros count as holes, and owners are numbers of the
// sandbox's own.

import { createHash, type Hash } from 'node:crypto'
import { readSync } from 'node:fs'
import { ITSELF, KIND, type Libc, type Name, type Stat } from './libc.ts'

const BLOCK = 64 << 10

/** `sha256:…` of what is below an open directory; `firstId` is the number that the sandbox's user 0 has here. */
export function digestOf(libc: Libc, root: number, firstId: number): string {
  const hash = createHash('sha256')
  new Reader(libc, hash, firstId).directory(root)
  return `sha256:${hash.digest('hex')}`
}

class Reader {
  readonly #libc: Libc
  readonly #hash: Hash
  readonly #firstId: number
  readonly #block = Buffer.alloc(BLOCK)
  /** Files with several names, by the order in which they were met. */
  readonly #linked = new Map<bigint, number>()

  constructor(libc: Libc, hash: Hash, firstId: number) {
    this.#libc = libc
    this.#hash = hash
    this.#firstId = firstId
  }

  directory(fd: number): void {
    this.#meta(fd, ITSELF, this.#libc.stat(fd, ITSELF))
    const names = [...this.#libc.names(fd)].sort(Buffer.compare)
    for (const name of names) {
      this.#hash.update(name)
      const found = this.#libc.stat(fd, name)
      if (found?.kind === KIND.directory) this.#below(fd, name)
      else {
        this.#meta(fd, name, found)
        if (found?.kind === KIND.file) this.#file(fd, name, found)
        if (found?.kind === KIND.link) this.#hash.update(this.#libc.readLink(fd, name) ?? '')
      }
    }
    this.#hash.update('\0')
  }

  #below(fd: number, name: Name): void {
    const inside = this.#libc.openDirectory(fd, name)
    if (inside === undefined) return
    try {
      this.directory(inside)
    } finally {
      this.#libc.close(inside)
    }
  }

  #meta(fd: number, name: Name, found: Stat | undefined): void {
    if (!found) throw new Error('The layer was changed while its digest was read')
    const { kind, mode, uid, gid, mtime } = found
    const fields = [kind, mode, uid - this.#firstId, gid - this.#firstId, mtime[0], mtime[1]]
    this.#hash.update(`${fields.join(' ')}\0`)
    const attributes = this.#libc.attributes(fd, name).sort(([one], [other]) => Buffer.compare(one, other))
    for (const [attribute, value] of attributes)
      this.#hash.update(attribute).update(`${value.length}\0`).update(value)
  }

  #file(fd: number, name: Name, { inode, links, size }: Stat): void {
    const known = links > 1 ? this.#linked.get(inode) : undefined
    this.#hash.update(known === undefined ? `${size}\0` : `=${known}\0`)
    if (known !== undefined) return
    if (links > 1) this.#linked.set(inode, this.#linked.size)
    const file = this.#libc.openFile(fd, name)
    if (file === undefined) throw new Error('The layer was changed while its digest was read')
    try {
      let next = 0
      for (const [start, end] of this.#libc.content.data(file, size)) {
        // Extents need not begin where our blocks do.
        for (let at = Math.max(start - (start % BLOCK), next); at < end; at += BLOCK) {
          this.#blockAt(file, at, Math.min(BLOCK, size - at))
          next = at + BLOCK
        }
      }
    } finally {
      this.#libc.close(file)
    }
  }

  #blockAt(file: number, at: number, length: number): void {
    this.#libc.checkIn()
    let filled = 0
    while (filled < length) {
      const got = readSync(file, this.#block, filled, length - filled, at + filled)
      if (got === 0) throw new Error('The layer was changed while its digest was read')
      filled += got
    }
    const block = this.#block.subarray(0, length)
    if (!isZero(block)) this.#hash.update(`@${at}\0`).update(block)
  }
}

const ZEROS = Buffer.alloc(BLOCK)

function isZero(block: Buffer): boolean {
  return block.equals(ZEROS.subarray(0, block.length))
}

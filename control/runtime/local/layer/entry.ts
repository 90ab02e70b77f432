import type { Stat } from './libc.ts'

/** The kernel's clock for files may tick so rarely: what was changed just before it was copied may be changed again unseen. */
const CLOCK_TICK_MS = 20

/** What is remembered of a file that was copied. */
export type Entry = {
  kind: number
  inode: bigint
  links: number
  blocks: number
  changedSec: bigint
  changedNsec: number
  /** Whether its time tells it from what it may become: it was changed some time before it was copied. */
  isSettled: boolean
  /** What is below a directory. */
  below?: Tree
}

/** The names of a directory, each byte a character. */
export type Tree = Map<string, Entry>

export function newDirectory(): Tree {
  return new Map()
}

/** What is to be remembered of a file as it is now. */
export function noteOf({ kind, inode, links, blocks, ctime: [sec, nsec] }: Stat): Entry {
  const isSettled = Date.now() - Number(sec) * 1000 - nsec / 1e6 > CLOCK_TICK_MS
  return { kind, inode, links, blocks, changedSec: sec, changedNsec: nsec, isSettled }
}

/** Whether a file is still what it was when it was copied. */
export function isUnchanged(before: Entry, { ctime: [sec, nsec] }: Stat): boolean {
  return before.isSettled && before.changedSec === sec && before.changedNsec === nsec
}

/** What a tree takes on the disk, each file once. */
export function sizeOf(tree: Tree): number {
  const seen = new Set<bigint>()
  const sum = (directory: Tree): number => {
    let total = 0
    for (const entry of directory.values()) {
      if (entry.below) total += sum(entry.below)
      if (entry.links > 1 && !entry.below) {
        if (seen.has(entry.inode)) continue
        seen.add(entry.inode)
      }
      total += entry.blocks * 512
    }
    return total
  }
  return sum(tree)
}

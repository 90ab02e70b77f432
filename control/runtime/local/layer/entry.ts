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

// Walking directory trees, sorted by the bytes of the names, one entry at a time: a tree is never held in memory, and who
// stops asking stops the walk. Links are not followed. What vanishes or cannot be read on the way is left out.

import type { Stats } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'

export type WalkEntry = { path: string; stat: Stats }

/** Everything below `dir` to a depth of `maxDepth`, a directory before what is in it. */
export async function* walk(dir: string, maxDepth: number): AsyncGenerator<WalkEntry> {
  if (maxDepth <= 0) return
  for (const name of await sortedNames(dir)) {
    const path = join(dir, name)
    let stat: Stats
    try {
      stat = await lstat(path)
    } catch {
      // It has vanished since.
      continue
    }
    yield { path, stat }
    if (stat.isDirectory()) yield* walk(path, maxDepth - 1)
  }
}

async function sortedNames(dir: string): Promise<string[]> {
  let names: string[]
  try {
    names = await readdir(dir)
  } catch {
    // Not ours to read, or gone: its parent has told that it exists.
    return []
  }
  return names
    .map((name) => Buffer.from(name))
    .sort(Buffer.compare)
    .map(String)
}

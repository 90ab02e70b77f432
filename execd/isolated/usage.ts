// How much the layers of sessions take on disk.

import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'

const BLOCK_BYTES = 512
/** More files than this are not counted: each look would take longer than the time until the next. */
const MAX_FILES = 200_000

/** The bytes that a tree takes; what vanishes meanwhile is left out. */
export async function usageOf(dir: string): Promise<number> {
  let bytes = 0
  let files = 0
  const waiting = [dir]
  for (let next = waiting.pop(); next !== undefined && files < MAX_FILES; next = waiting.pop()) {
    const parent = next
    const entries = await readdir(parent, { withFileTypes: true }).catch(() => [])
    for (const entry of entries) {
      const path = join(parent, entry.name)
      files++
      if (entry.isDirectory()) waiting.push(path)
      bytes += (await lstat(path).catch(() => undefined))?.blocks ?? 0
    }
  }
  return bytes * BLOCK_BYTES
}

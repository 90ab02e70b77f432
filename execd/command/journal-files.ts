// The files of a journal: which there are, and reading stretches of them. They lie inside the sandbox, where anyone who is root may
// have cut them short or removed them.

import { fstatSync, openSync, readdirSync, readSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'

const READ_BYTES = 64 << 10

export type Part = { fd: number; start: number; end: number }

/** Opens the bytes of a file from `start` on. Undefined when someone has removed it: everything here is inside the sandbox. */
export function openPart(path: string, start: number, end: number): Part | undefined {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    return undefined
  }
  return { fd, start, end: Math.max(start, Math.min(end, fstatSync(fd).size)) }
}

/** All bytes of a part, in pieces. */
export function* readPart({ fd, start, end }: Part): Generator<Buffer> {
  for (let at = start; at < end; ) {
    const buffer = Buffer.alloc(Math.min(READ_BYTES, end - at))
    const length = readSync(fd, buffer, 0, buffer.length, at)
    if (length === 0) return
    at += length
    yield buffer.subarray(0, length)
  }
}

/** The files `${path}.N` of a directory: every N by path, the smallest first. One look, however many journals there are. */
export function numberedFiles(dir: string): Map<string, number[]> {
  const found = new Map<string, number[]>()
  let names: string[]
  try {
    names = readdirSync(dir)
  } catch {
    // No directory, no files.
    return found
  }
  for (const name of names) {
    const [, base = '', number] = /^(.+)\.(\d{1,15})$/.exec(name) ?? []
    if (number !== undefined) {
      const path = join(dir, base)
      found.set(
        path,
        [...(found.get(path) ?? []), Number(number)].sort((a, b) => a - b),
      )
    }
  }
  return found
}

/** Undefined when there is no such file. */
export function sizeOf(path: string): number | undefined {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.isFile() ? stat.size : undefined
}

/** Removes a file that may not be there. */
export function removeFile(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // What is gone needs no removing, and what cannot be removed is no reason to fail.
  }
}

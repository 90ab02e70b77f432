// Walking directory trees, sorted by the bytes of the names, a directory before what is in it. A tree is never held in memory,
// and links are not followed. What a file is comes with its name; only who needs more of it asks the file system again.

import { type Dirent, lstatSync, opendirSync, readdirSync, type Stats, statSync } from 'node:fs'
import { systemCodeOf } from '../../lib/errors.ts'
import { decodeName, encodeName, nativePath, needsBytes } from './name.ts'
import type { Pace } from './turns.ts'

/** A directory that takes more than this has so many entries that it is read in parts. */
const LARGE_DIRECTORY_BYTES = 256 << 10
const READ_ENTRIES = 512
/** So many names are sorted in a few milliseconds. */
const SORT_ENTRIES = 4096

export type EntryKind = 'file' | 'directory' | 'symlink' | 'other'
export type Entry = { path: string; name: string; kind: EntryKind }

export type WalkOptions = {
  /** 1: what is in the directory itself. */
  maxDepth?: number
  pace: Pace
  /**
   * What to do with an entry: visit it, leave it out but not what is below it, or leave out both. Asked before anything is
   * sorted, so what is left out costs next to nothing. `prefix` and `name` are the path; without it everything is visited.
   */
  select?(prefix: string, name: string, kind: EntryKind): 'visit' | 'enter' | 'skip'
  /** Told of each directory below that cannot be read; without it they are left out silently. */
  onUnreadable?(path: string): void
}

/**
 * Calls `visit` for everything below `dir`, waits for it where it answers with a promise, and goes on as long as it says true. Fails when
 * `dir` itself cannot be read; what vanishes or cannot be read below is left out.
 */
export async function walk(
  dir: string,
  options: WalkOptions,
  visit: (entry: Entry) => boolean | Promise<boolean>,
): Promise<void> {
  const { maxDepth = Number.POSITIVE_INFINITY, pace, onUnreadable } = options
  if (maxDepth <= 0) return
  const read = async (path: string) => {
    const prefix = path.endsWith('/') ? path : `${path}/`
    return { prefix, children: await readSorted(prefix, options), next: 0 }
  }
  const open = [await read(dir)]
  for (let level = open.at(-1); level; level = open.at(-1)) {
    const child = level.children[level.next++]
    if (child === undefined) {
      open.pop()
      continue
    }
    if (pace.isDue) await pace.rest()
    const name = child.slice(0, -2)
    const path = level.prefix + name
    const letter = child.slice(-1)
    if (letter !== ENTERED) {
      const asked = visit({ path, name, kind: KINDS[letter] ?? 'other' })
      if (!(typeof asked === 'boolean' ? asked : await asked)) return
    }
    if ((letter !== ENTERED && letter !== DIRECTORY) || open.length >= maxDepth) continue
    try {
      open.push(await read(path))
    } catch (error) {
      // Its parent has told that it exists; unless it is gone since, it is not ours to read.
      if (systemCodeOf(error) === undefined) throw error
      if (systemCodeOf(error) !== 'ENOENT') onUnreadable?.(path)
    }
  }
}

/** What there is to know of an entry that was visited; undefined when it has vanished since. */
export function statEntry(path: string): Stats | undefined {
  try {
    return lstatSync(nativePath(path), { throwIfNoEntry: false })
  } catch {
    // A directory on the way to it has become something else.
    return undefined
  }
}

/**
 * The name of an entry, a NUL byte, which no name has, and a letter for what it is: texts are sorted in half the time of
 * objects with texts in them, and in the same order as the names alone.
 */
type Child = string

const DIRECTORY = 'd'
/** A directory that is not visited itself. */
const ENTERED = 'e'
const LETTERS = { file: 'f', directory: DIRECTORY, symlink: 'l', other: 'o' } as const
const KINDS: Record<string, EntryKind> = { f: 'file', d: 'directory', l: 'symlink', o: 'other' }

async function readSorted(prefix: string, options: WalkOptions): Promise<Child[]> {
  const size = statSync(nativePath(prefix)).size
  const children =
    size > LARGE_DIRECTORY_BYTES ? await readInParts(prefix, options) : readAtOnce(prefix, options)
  const isPlain = !children.some(needsBytes)
  if (isPlain && children.length <= SORT_ENTRIES) return children.sort()
  return sortInParts(children, isPlain ? AS_IT_IS : AS_BYTES, options.pace)
}

function readAtOnce(prefix: string, options: WalkOptions): Child[] {
  const entries = readdirSync(nativePath(prefix), { withFileTypes: true })
  if (!entries.some(isMisread)) return selectChildren(prefix, entries, options)
  return selectChildren(
    prefix,
    readdirSync(nativePath(prefix), { withFileTypes: true, encoding: 'buffer' }),
    options,
  )
}

/** `isMisread` names are read again as bytes. */
async function readInParts(prefix: string, options: WalkOptions, isByBytes = false): Promise<Child[]> {
  // The types of Node know of no other encoding here.
  const encoding = (isByBytes ? 'buffer' : 'utf8') as BufferEncoding
  const handle = opendirSync(nativePath(prefix), { bufferSize: READ_ENTRIES, encoding })
  try {
    const children: Child[] = []
    const part: (Dirent | Dirent<Buffer>)[] = []
    for (let entry = handle.readSync(); ; entry = handle.readSync()) {
      if (entry) part.push(entry)
      if (entry && part.length < READ_ENTRIES) continue
      if (part.some(isMisread)) break
      children.push(...selectChildren(prefix, part, options))
      if (!entry) return children
      part.length = 0
      if (options.pace.isDue) await options.pace.rest()
    }
  } finally {
    handle.closeSync()
  }
  return readInParts(prefix, options, true)
}

/** Whether the name may have had bytes that are not UTF-8. */
function isMisread({ name }: Dirent | Dirent<Buffer>): boolean {
  return typeof name === 'string' && name.includes('\ufffd')
}

function selectChildren(
  prefix: string,
  entries: (Dirent | Dirent<Buffer>)[],
  { select }: WalkOptions,
): Child[] {
  const children: Child[] = []
  for (const entry of entries) {
    const name = typeof entry.name === 'string' ? entry.name : decodeName(entry.name)
    const kind = kindOf(entry)
    const choice = select ? select(prefix, name, kind) : 'visit'
    if (choice === 'visit') children.push(`${name}\0${LETTERS[kind]}`)
    else if (choice === 'enter' && kind === 'directory') children.push(`${name}\0${ENTERED}`)
  }
  return children
}

function kindOf(entry: Dirent | Dirent<Buffer>): EntryKind {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'directory'
  return entry.isSymbolicLink() ? 'symlink' : 'other'
}

/** How names are written to be sorted as texts: as they are, or with a character for each byte where that is another order. */
type Key = { of(child: Child): string; child(key: string): Child }

const AS_IT_IS: Key = { of: (child) => child, child: (key) => key }
const AS_BYTES: Key = {
  of: (child) => encodeName(child).toString('latin1'),
  child: (key) => decodeName(Buffer.from(key, 'latin1')),
}

/** Merge sort: runs that are sorted in one slice each, then always two of them into one. */
async function sortInParts(children: Child[], key: Key, pace: Pace): Promise<Child[]> {
  let runs: string[][] = []
  for (let at = 0; at < children.length; at += SORT_ENTRIES) {
    runs.push(
      children
        .slice(at, at + SORT_ENTRIES)
        .map(key.of)
        .sort(),
    )
    if (pace.isDue) await pace.rest()
  }
  while (runs.length > 1) {
    const merged: string[][] = []
    for (let at = 0; at < runs.length; at += 2)
      merged.push(await merge(runs[at] ?? [], runs[at + 1] ?? [], pace))
    runs = merged
  }
  const sorted = runs[0] ?? []
  for (const [index, one] of sorted.entries()) {
    sorted[index] = key.child(one)
    if (index % READ_ENTRIES === 0 && pace.isDue) await pace.rest()
  }
  return sorted
}

async function merge(left: string[], right: string[], pace: Pace): Promise<string[]> {
  const merged: string[] = []
  let l = 0
  let r = 0
  while (l < left.length && r < right.length) {
    const a = left[l] ?? ''
    const b = right[r] ?? ''
    if (a <= b) l++
    else r++
    merged.push(a <= b ? a : b)
    if (merged.length % READ_ENTRIES === 0 && pace.isDue) await pace.rest()
  }
  return merged.concat(left.slice(l), right.slice(r))
}

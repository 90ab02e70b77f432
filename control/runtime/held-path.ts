// Paths in which others may put symbolic links, opened so that what was judged is what is used. A path is walked name by name from
// a directory that is held open, and no link is followed; whoever swaps a name meanwhile makes the walk fail, and leads it nowhere.
// What is held can be named as `/proc/{pid}/fd/{n}`, by which the kernel finds the very same thing, whatever its name is now.

import { constants } from 'node:fs'
import { chown, type FileHandle, lstat, mkdir, open, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'

/** Opens something as a place only: nothing can be read by it, and devices and pipes are not touched. Node has no name for it. */
const O_PATH = 0o10000000
const PLACE = O_PATH | constants.O_NOFOLLOW

/** What fails whatever a path says. */
const WITHOUT_FAULT = ['EIO', 'EMFILE', 'ENFILE', 'ENOMEM', 'ESTALE']

export type Owner = { uid: number; gid: number }

export type HeldPath = AsyncDisposable & {
  /** A name of the very thing, for any program of this machine, while it is held. */
  link: string
  isDirectory: boolean
  /** What tells it from everything else on the machine. */
  device: number
  inode: number
}

/** The path leads elsewhere than it may: over a symbolic link, or out of what it must stay in. */
export class LeadsAway extends Error {
  constructor(path: string, cause?: unknown) {
    super(`"${path}" leads elsewhere`, cause === undefined ? undefined : { cause })
    this.name = 'LeadsAway'
  }
}

/** Holds a path that has no symbolic link in it. Rejects with LeadsAway when it has one, with the system's error when it is not there. */
export async function holdPath(path: string): Promise<HeldPath> {
  return await hold('/', namesOf(path))
}

/** Holds a path below a directory that is only ours to name, wherever its links lead within; what is missing is made. */
export async function holdBelow(root: string, relative: string, owner: Owner): Promise<HeldPath> {
  const real = await realpath(root)
  let existing = join(real, relative)
  const missing: string[] = []
  let found = await realPathOf(existing)
  while (found === undefined && existing !== real) {
    missing.unshift(existing.slice(existing.lastIndexOf('/') + 1))
    existing = join(existing, '..')
    found = await realPathOf(existing)
  }
  if (found === undefined || (found !== real && !found.startsWith(`${real}/`))) throw new LeadsAway(relative)
  return await hold(real, [...namesOf(found.slice(real.length)), ...missing], owner)
}

/** Makes a directory, and those above it that are missing; links are not followed. */
export async function makeDirectory(path: string, owner: Owner): Promise<void> {
  const held = await hold('/', namesOf(path), owner)
  await held[Symbol.asyncDispose]()
}

async function hold(root: string, names: string[], maker?: Owner): Promise<HeldPath> {
  let at = await open(root, PLACE | constants.O_DIRECTORY)
  for (const name of names) {
    let next: FileHandle
    try {
      next = await step(at, name, maker)
    } finally {
      await at.close()
    }
    at = next
  }
  try {
    const stat = await at.stat()
    // Opened as a place, a link is opened itself.
    if (stat.isSymbolicLink()) throw new LeadsAway(names.at(-1) ?? root)
    const held = at
    return {
      link: linkOf(at),
      isDirectory: stat.isDirectory(),
      device: stat.dev,
      inode: stat.ino,
      [Symbol.asyncDispose]: () => held.close(),
    }
  } catch (error) {
    await at.close()
    throw error
  }
}

/** The next name of a path. As the name stands behind a held directory, nothing before it can be swapped. */
async function step(from: FileHandle, name: string, maker: Owner | undefined): Promise<FileHandle> {
  const path = `${linkOf(from)}/${name}`
  try {
    return await open(path, PLACE)
  } catch (error) {
    const code = systemCodeOf(error)
    // What was gone through is a link, or a file.
    if (code === 'ENOTDIR' || code === 'ELOOP') throw new LeadsAway(name, error)
    if (code !== 'ENOENT' || !maker) throw error
  }
  try {
    await mkdir(path, { mode: 0o755 })
    const made = await open(path, PLACE | constants.O_DIRECTORY)
    try {
      await chown(linkOf(made), maker.uid, maker.gid)
      return made
    } catch (error) {
      await made.close()
      throw error
    }
  } catch (error) {
    // Another create has made it in this very moment.
    if (systemCodeOf(error) !== 'EEXIST') throw error
    return await open(path, PLACE)
  }
}

function linkOf({ fd }: FileHandle): string {
  return `/proc/${process.pid}/fd/${fd}`
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '')
}

async function realPathOf(path: string): Promise<string | undefined> {
  try {
    return await realpath(path)
  } catch (error) {
    const code = systemCodeOf(error)
    // Through a file, round in circles, or to where nobody may look.
    if (code !== 'ENOENT') throw WITHOUT_FAULT.includes(code ?? '') ? error : new LeadsAway(path, error)
    // A link that leads to nothing is not something that is missing.
    const isThere = await lstat(path).then(
      () => true,
      () => false,
    )
    if (isThere) throw new LeadsAway(path)
    return undefined
  }
}

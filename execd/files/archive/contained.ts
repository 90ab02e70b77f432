// Making files in one directory and nowhere else, whatever their names say and whoever changes the tree meanwhile. A directory is
// opened step by step without following links, and everything is done through that handle: a link in the way is refused, and a
// directory that becomes a link afterwards leads nobody anywhere.

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  write,
  writeSync,
} from 'node:fs'
import { promisify } from 'node:util'
import { systemCodeOf } from '../../../lib/errors.ts'
import { createRandomId } from '../../random-id.ts'
import { encodeName } from '../name.ts'
import type { Pace } from '../turns.ts'
import type { Owner } from '../write.ts'
import { ArchiveError, type Content } from './archive.ts'

const DIRECTORY_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
const NEW_FILE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
/** What is no larger is written in one step. */
const SMALL_BYTES = 256 << 10
const writeSome = promisify(write)

export type Attributes = { mode: number; mtimeMs: number }

/** Paths are lists of names, none of which is empty, `.` or `..`. */
export class ContainedTree {
  /** The directories from the outermost to the one that was used last. */
  readonly #open: { name: string; fd: number }[]
  readonly #owner: Owner | undefined
  readonly #made: ({ path: string[] } & Attributes)[] = []

  constructor(root: string | Buffer, owner: Owner) {
    this.#open = [{ name: '', fd: openSync(root, DIRECTORY_FLAGS) }]
    // Only root can give files away.
    this.#owner = process.getuid?.() === 0 ? owner : undefined
  }

  /** Makes a directory; one that is there stays as it is. */
  makeDirectory(path: string[], attributes: Attributes): void {
    if (this.#enter(path) === 'made') this.#made.push({ path, ...attributes })
  }

  async makeFile(path: string[], attributes: Attributes, content: Content): Promise<void> {
    const small = content.size <= SMALL_BYTES ? await content.whole() : undefined
    this.#enter(path.slice(0, -1))
    await this.#put(path, async (place) => {
      const fd = openSync(place, NEW_FILE_FLAGS, 0o600)
      try {
        if (small) writeAllSync(fd, small)
        else for await (const piece of content.pieces()) await writeAll(fd, piece)
        if (this.#owner) fchownSync(fd, this.#owner.uid, this.#owner.gid)
        fchmodSync(fd, attributes.mode)
        futimesSync(fd, attributes.mtimeMs / 1000, attributes.mtimeMs / 1000)
      } catch (error) {
        unlinkSync(place)
        throw error
      } finally {
        closeSync(fd)
      }
    })
  }

  async makeSymlink(path: string[], target: string, mtimeMs: number): Promise<void> {
    this.#enter(path.slice(0, -1))
    await this.#put(path, (place) => {
      symlinkSync(encodeName(target), place)
      if (this.#owner) lchownSync(place, this.#owner.uid, this.#owner.gid)
      lutimesSync(place, mtimeMs / 1000, mtimeMs / 1000)
    })
  }

  /** Gives a file of this tree a second name. */
  async makeHardlink(path: string[], target: string[]): Promise<void> {
    this.#enter(target.slice(0, -1), false)
    const from = openSync(`/proc/self/fd/${this.#current}`, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      const source = placeOf(from, target.at(-1) ?? '')
      if (!lstatSync(source, { throwIfNoEntry: false })?.isFile())
        throw new ArchiveError(
          `"${path.join('/')}" is a link to "${target.join('/')}", which is no file of it`,
        )
      this.#enter(path.slice(0, -1))
      await this.#put(path, (place) => linkSync(source, place))
    } finally {
      closeSync(from)
    }
  }

  /** Gives the directories that were made their modes and times, which filling them would have needed or changed. */
  async finish(pace: Pace): Promise<void> {
    for (const { path, mode, mtimeMs } of this.#made.reverse()) {
      if (pace.isDue) await pace.rest()
      this.#enter(path, false)
      fchmodSync(this.#current, mode)
      futimesSync(this.#current, mtimeMs / 1000, mtimeMs / 1000)
    }
  }

  close(): void {
    for (const { fd } of this.#open.splice(0)) closeSync(fd)
  }

  get #current(): number {
    return this.#open.at(-1)?.fd ?? -1
  }

  /** Makes `path` the current directory, and the directories on the way to it where there are none. */
  #enter(path: string[], isMade = true): 'made' | 'found' {
    let same = 0
    while (same < path.length && this.#open[same + 1]?.name === path[same]) same++
    for (const { fd } of this.#open.splice(same + 1)) closeSync(fd)
    let last: 'made' | 'found' = 'found'
    for (const name of path.slice(same)) {
      const place = placeOf(this.#current, name)
      let fd = openDirectory(place, path)
      last = fd === undefined ? 'made' : 'found'
      if (fd === undefined) {
        if (!isMade) throw new ArchiveError(`there is no directory "${path.join('/')}" in it`)
        mkdirSync(place, { mode: 0o755 })
        fd = openDirectory(place, path)
        if (fd === undefined)
          throw new ArchiveError(`the directory "${path.join('/')}" was removed meanwhile`)
        if (this.#owner) fchownSync(fd, this.#owner.uid, this.#owner.gid)
      }
      this.#open.push({ name, fd })
    }
    return last
  }

  /** Makes something in the current directory, in the place of what is there unless that is a directory. */
  async #put(path: string[], make: (place: string | Buffer) => void | Promise<void>): Promise<void> {
    const parent = this.#current
    const place = placeOf(parent, path.at(-1) ?? '')
    try {
      await make(place)
    } catch (error) {
      if (systemCodeOf(error) !== 'EEXIST') throw error
      if (lstatSync(place, { throwIfNoEntry: false })?.isDirectory())
        throw new ArchiveError(`there is a directory already at "${path.join('/')}"`)
      const beside = placeOf(parent, `.${createRandomId()}.new`)
      await make(beside)
      renameSync(beside, place)
    }
  }
}

function placeOf(fd: number, name: string): string | Buffer {
  const place = `/proc/self/fd/${fd}/${name}`
  return name.isWellFormed() ? place : encodeName(place)
}

/** Undefined when there is nothing. */
function openDirectory(place: string | Buffer, path: string[]): number | undefined {
  try {
    return openSync(place, DIRECTORY_FLAGS)
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT') return undefined
    if (code === 'ENOTDIR' || code === 'ELOOP')
      throw new ArchiveError(`a link or a file is in the way of "${path.join('/')}"`)
    throw error
  }
}

function writeAllSync(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
}

async function writeAll(fd: number, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await writeSome(fd, bytes, at, bytes.length - at)).bytesWritten
}

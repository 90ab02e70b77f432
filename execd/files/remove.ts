// Removing directories with everything in them. Each directory is opened without following links and reached through that
// handle from then on: who swaps a directory for a link meanwhile has the link removed, and nothing behind it. It goes through
// to the end even when something cannot be removed, and fails with the first reason.

import {
  closeSync,
  constants,
  type Dirent,
  lstatSync,
  opendirSync,
  openSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from 'node:fs'
import { systemCodeOf } from '../../lib/errors.ts'
import { createRandomId } from '../random-id.ts'
import { nativePath } from './name.ts'
import type { Pace } from './turns.ts'

/** So many directories are held open at once; what is nested deeper is moved up first. */
const MAX_OPEN = 64
/** How often a directory is emptied again that someone else keeps filling. */
const MAX_ROUNDS = 5
const READ_ENTRIES = 512

/** Removes whatever is at `path`; nothing there is fine. */
export async function removeTree(path: string, pace: Pace): Promise<void> {
  const stat = lstatSync(nativePath(path), { throwIfNoEntry: false })
  if (!stat) return
  if (!stat.isDirectory()) return unlinkSync(nativePath(path))
  const removal: Removal = { open: [], pace, failures: [], moved: 0 }
  await removeDirectory(removal, toBytes(path))
  if (removal.failures.length > 0) throw removal.failures[0]
}

type Removal = {
  /** The handles of the directories around, the outermost first. */
  open: number[]
  pace: Pace
  failures: unknown[]
  /** How many directories were moved up. */
  moved: number
}

async function removeDirectory(removal: Removal, path: Buffer): Promise<void> {
  try {
    for (let rounds = 1; ; ) {
      const movedBefore = removal.moved
      await emptyDirectory(removal, path)
      try {
        return rmdirSync(path)
      } catch (error) {
        const isFuller = systemCodeOf(error) === 'ENOTEMPTY' && removal.failures.length === 0
        // What was moved up comes next; what someone else has put there does so only a few times.
        const isOurs = removal.open.length === 0 && removal.moved > movedBefore
        if (!isFuller || (!isOurs && rounds++ === MAX_ROUNDS)) throw error
      }
    }
  } catch (error) {
    const code = systemCodeOf(error)
    // It has become a link or a file since; that goes instead.
    if (code === 'ENOTDIR' || code === 'ELOOP') attempt(() => unlinkSync(path), removal.failures)
    else if (code === undefined) throw error
    else if (code !== 'ENOENT') removal.failures.push(error)
  }
}

async function emptyDirectory(removal: Removal, path: Buffer): Promise<void> {
  const { open, pace, failures } = removal
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  open.push(fd)
  try {
    const base = `/proc/self/fd/${fd}/`
    for (const entry of entriesOf(base)) {
      if (pace.isDue) await pace.rest()
      const child = Buffer.concat([Buffer.from(base), entry.name])
      if (!entry.isDirectory()) attempt(() => unlinkSync(child), failures)
      else if (open.length < MAX_OPEN) await removeDirectory(removal, child)
      else
        attempt(() => {
          renameSync(child, `/proc/self/fd/${open[0]}/.${createRandomId()}`)
          removal.moved++
        }, failures)
    }
  } finally {
    open.pop()
    closeSync(fd)
  }
}

/** Read a few at a time: what was removed meanwhile does not hide what comes after it. */
function* entriesOf(dir: string): Generator<Dirent<Buffer>> {
  // The types of Node know of no other encoding here.
  const handle = opendirSync(dir, { bufferSize: READ_ENTRIES, encoding: 'buffer' as BufferEncoding })
  try {
    for (let entry = handle.readSync(); entry; entry = handle.readSync())
      yield entry as unknown as Dirent<Buffer>
  } finally {
    handle.closeSync()
  }
}

function attempt(act: () => void, failures: unknown[]): void {
  try {
    act()
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error
    if (systemCodeOf(error) !== 'ENOENT') failures.push(error)
  }
}

function toBytes(path: string): Buffer {
  const native = nativePath(path)
  return typeof native === 'string' ? Buffer.from(native) : native
}

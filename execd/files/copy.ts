// Copying to another file system, for a move: everything of a tree with its modes, owners and times. Links stay as they are.

import { constants, type Stats } from 'node:fs'
import { copyFile, lstat, mkdir, readlink, symlink } from 'node:fs/promises'
import { execdError } from '../http/answer.ts'
import { keepAttributes } from './keep-attributes.ts'
import { nativePath } from './name.ts'
import type { Pace } from './turns.ts'
import { walk } from './walk.ts'

/** Copies what is at `source` to `target`, where nothing is. */
export async function copyTree(source: string, target: string, pace: Pace): Promise<void> {
  const stat = await lstat(nativePath(source))
  // The times of a directory are set last, as filling it changes them.
  const directories: { path: string; stat: Stats }[] = []
  const copy = async (from: string, to: string, found: Stats) => {
    await copyOne(from, to, found)
    if (found.isDirectory()) directories.push({ path: to, stat: found })
  }
  await copy(source, target, stat)
  if (stat.isDirectory())
    await walk(source, { pace, onUnreadable: refuseUnreadable }, async ({ path }) => {
      await copy(path, target + path.slice(source.length), await lstat(nativePath(path)))
      return true
    })
  for (const { path, stat: wanted } of directories.reverse()) {
    if (pace.isDue) await pace.rest()
    keepAttributes(path, wanted)
  }
}

async function copyOne(from: string, to: string, stat: Stats): Promise<void> {
  const source = nativePath(from)
  const target = nativePath(to)
  if (stat.isDirectory()) return void (await mkdir(target, { mode: 0o700 }))
  if (stat.isSymbolicLink()) await symlink(await readlink(source, { encoding: 'buffer' }), target)
  else if (stat.isFile()) await copyFile(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  // A socket lives with the program that listens on it, and not elsewhere.
  else if (stat.isSocket()) return
  else
    throw execdError(
      'RUNTIME_ERROR',
      `Cannot move "${from}" to another file system: it is neither a file nor a directory nor a link`,
    )
  keepAttributes(to, stat)
}

function refuseUnreadable(path: string): void {
  throw execdError('RUNTIME_ERROR', `Cannot move "${path}" to another file system: it cannot be read`)
}

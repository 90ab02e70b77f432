// Making directories, moving and removing (contract: execd.md 6.4). Each is either done or not.

import { link, lstat, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { giveDirectories, makeDirectories } from '../make-directories.ts'
import { copyTree } from './copy.ts'
import { isThere } from './expectation.ts'
import { nativePath } from './name.ts'
import { applyPermission, type Permission } from './permission.ts'
import { removeTree } from './remove.ts'
import type { Pace } from './turns.ts'
import { type Owner, temporaryBeside } from './write.ts'

/** Makes a directory with its parents; `permission` goes to a directory that was not there. */
export async function makeDirectory(path: string, owner: Owner, permission: Permission = {}): Promise<void> {
  const first = makeDirectories(path)
  if (first === undefined) return
  if (owner.uid !== 0 || owner.gid !== 0) giveDirectories(first, path, owner)
  await applyPermission(path, permission)
}

export type Move = { source: string; destination: string; overwrite: boolean }

/** Moves a file or directory, across file systems too. Where something is, it goes only when it may overwrite. */
export async function move(
  { source, destination, overwrite }: Move,
  owner: Owner,
  pace: Pace,
): Promise<void> {
  const found = await lstat(nativePath(source))
  if (!overwrite && (await isThere(destination))) throw isTaken(source, destination)
  await makeDirectory(dirname(destination), owner)
  try {
    // A link to the same file never takes the place of another, and a directory is never renamed over a file or a full one.
    if (overwrite || found.isDirectory() || !(await moveByLink(source, destination)))
      await rename(nativePath(source), nativePath(destination))
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'EEXIST' || code === 'ENOTEMPTY' || code === 'ENOTDIR' || code === 'EISDIR')
      throw isTaken(source, destination, error)
    if (code !== 'EXDEV') throw error
    await moveByCopy({ source, destination, overwrite }, pace)
  }
}

/** Removes a file or link; one that is not there is fine, a directory is refused. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(nativePath(path))
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return
    if (code === 'EISDIR' || (code === 'EPERM' && (await isDirectory(path))))
      throw execdError('RUNTIME_ERROR', `Cannot remove "${path}" as a file: it is a directory`, error)
    throw error
  }
}

/** False when the file system, or the owner of the file, lets nobody make such a link. */
async function moveByLink(source: string, destination: string): Promise<boolean> {
  try {
    await link(nativePath(source), nativePath(destination))
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'EPERM' || code === 'EACCES' || code === 'ENOTSUP' || code === 'ENOSYS' || code === 'EMLINK')
      return false
    throw error
  }
  try {
    await unlink(nativePath(source))
  } catch (error) {
    await unlink(nativePath(destination))
    throw error
  }
  return true
}

async function moveByCopy({ source, destination, overwrite }: Move, pace: Pace): Promise<void> {
  const temporary = temporaryBeside(destination)
  try {
    await copyTree(source, temporary, pace)
    const isFile = !(await lstat(nativePath(temporary))).isDirectory()
    if (overwrite || !isFile || !(await moveByLink(temporary, destination)))
      await rename(nativePath(temporary), nativePath(destination))
  } catch (error) {
    await removeTree(temporary, pace)
    throw error
  }
  await removeTree(source, pace)
}

function isTaken(source: string, destination: string, cause?: unknown): Error {
  return execdError(
    'RUNTIME_ERROR',
    `Cannot move "${source}" as there is something at "${destination}"`,
    cause,
  )
}

async function isDirectory(path: string): Promise<boolean> {
  return (await lstat(nativePath(path)).catch(() => undefined))?.isDirectory() ?? false
}

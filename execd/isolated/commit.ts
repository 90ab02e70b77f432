// Writing what a session has changed to where its overlays lie over. Nothing of the session runs meanwhile: what lies below an
// overlay must not change while that is mounted.

import { execFile } from 'node:child_process'
import {
  chmod,
  copyFile,
  lchown,
  lstat,
  lutimes,
  mkdir,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import type { IsolatedChange } from '../../lib/api/execd-isolated.ts'
import { createRandomId } from '../random-id.ts'
import { hostProgram } from '../runtime-dir.ts'
import { type DiffedMount, diffedMounts, diffMount } from './diff.ts'
import { emptyLayers } from './layers.ts'
import { freezeSession, resumeSession } from './processes.ts'
import type { IsolatedSession } from './session.ts'

const MKFIFO_TIMEOUT_MS = 5000

/**
 * Writes what a session has changed to where its overlays lie over, once it is its turn. All that runs in it ends, and a new shell
 * begins with empty layers. Returns the changes.
 */
export function commitSession(session: IsolatedSession): Promise<IsolatedChange[]> {
  return session.exclusively(async ({ end, startAgain }) => {
    const { spec } = session
    const { initPid } = session.requireNamespace()
    const mounts = diffedMounts(session)
    // From here on nothing changes any more.
    freezeSession(initPid)
    const changes: IsolatedChange[][] = []
    try {
      for (const mount of mounts) changes.push(await diffMount(mount, spec.isolator.config.diffMaxBytes))
    } catch (error) {
      resumeSession(initPid)
      throw error
    }
    await end()
    try {
      for (const [index, mount] of mounts.entries()) await applyChanges(mount, changes[index] ?? [])
      await emptyLayers(spec.layersDir, spec.plan.mounts)
    } finally {
      await startAgain()
    }
    return changes.flat()
  })
}

/** Applies the changes of one mount, in their order. */
async function applyChanges(mount: DiffedMount, changes: IsolatedChange[]): Promise<void> {
  for (const { path, change } of changes) {
    if (change === 'deleted') await rm(path, { recursive: true, force: true })
    else await bring(join(mount.upper, relative(mount.path, path)), path)
  }
  // At the end, because each entry that is made in a directory changes its time.
  for (const { path, type } of changes.toReversed()) if (type === 'directory') await copyTimes(mount, path)
}

async function bring(source: string, path: string): Promise<void> {
  const stat = await lstat(source)
  const before = await lstat(path).catch(() => undefined)
  if (stat.isDirectory()) {
    if (before && !before.isDirectory()) await rm(path)
    if (!before?.isDirectory()) await mkdir(path)
    await lchown(path, stat.uid, stat.gid)
    await chmod(path, stat.mode & 0o7777)
    return
  }
  // Made beside and renamed, so that nobody sees half of it.
  const temporary = join(
    dirname(path),
    `.${basename(path).slice(0, 60)}.${createRandomId().slice(0, 12)}.new`,
  )
  try {
    if (stat.isSymbolicLink()) await symlink(await readlink(source), temporary)
    else if (stat.isFile()) await copyFile(source, temporary)
    else if (stat.isFIFO()) await makeFifo(temporary)
    // Sockets belong to a process that is gone.
    else return
    await lchown(temporary, stat.uid, stat.gid)
    if (!stat.isSymbolicLink()) await chmod(temporary, stat.mode & 0o7777)
    await lutimes(temporary, stat.atime, stat.mtime)
    if (before?.isDirectory()) await rm(path, { recursive: true, force: true })
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

async function copyTimes(mount: DiffedMount, path: string): Promise<void> {
  const stat = await lstat(join(mount.upper, relative(mount.path, path))).catch(() => undefined)
  if (stat?.isDirectory()) await lutimes(path, stat.atime, stat.mtime)
}

async function makeFifo(path: string): Promise<void> {
  const [program = '', ...args] = hostProgram('mkfifo')
  await promisify(execFile)(program, [...args, '--', path], { timeout: MKFIFO_TIMEOUT_MS, env: {} })
}

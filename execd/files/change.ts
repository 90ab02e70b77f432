// Changes to files, each either done or not: new content is written beside and renamed, so that nobody sees half of it.

import type { Stats } from 'node:fs'
import {
  chmod,
  chown,
  copyFile,
  cp,
  lstat,
  mkdir,
  open,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  unlink,
} from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { createRandomId } from '../random-id.ts'
import { applyPermission, type Permission } from './permission.ts'

/** What a new file may do when nobody says: the contract's default. */
const NEW_FILE_MODE = 0o755
const MAX_REPLACE_BYTES = 256 << 20

/** Who owns what execd makes, unless a client names someone else. */
export type Owner = { uid: number; gid: number }

/** Writes a file from a stream, with its parents, keeping what an existing one has and nobody changes. */
export async function writeFromStream(
  path: string,
  source: Readable,
  { permission, owner }: { permission: Permission; owner: Owner },
): Promise<void> {
  const target = await writableTarget(path)
  await makeDirectory(dirname(target.path), owner)
  await replaceContent(target, { permission, owner }, async (handle) => {
    for await (const chunk of source as AsyncIterable<Buffer>) await writeAll(handle, chunk)
  })
}

/** Replaces every `search` in a file; returns how many there were. A file without one is left alone. */
export async function replaceInFile(path: string, search: string, replacement: string): Promise<number> {
  const target = await writableTarget(path)
  if (!target.existing) throw execdError('FILE_NOT_FOUND', `There is no file "${path}"`)
  if (target.existing.size > MAX_REPLACE_BYTES)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `Cannot replace in "${path}" as it is larger than ${MAX_REPLACE_BYTES} bytes: it has ${target.existing.size}`,
    )
  // Bytes, not text: what is not UTF-8 stays as it is.
  const content = await readFile(target.path)
  const pieces = splitBytes(content, Buffer.from(search))
  if (pieces.length === 1) return 0
  const between = Buffer.from(replacement)
  const owner = { uid: target.existing.uid, gid: target.existing.gid }
  await replaceContent(target, { permission: {}, owner }, async (handle) => {
    await handle.writeFile(
      Buffer.concat(pieces.flatMap((piece, index) => (index === 0 ? [piece] : [between, piece]))),
    )
  })
  return pieces.length - 1
}

/** Makes a directory with its parents; `permission` goes to a directory that was not there. */
export async function makeDirectory(path: string, owner: Owner, permission: Permission = {}): Promise<void> {
  const first = await mkdir(path, { recursive: true })
  if (first === undefined) return
  if (owner.uid !== 0 || owner.gid !== 0)
    for (let made = path; made.length >= first.length; made = dirname(made))
      await chown(made, owner.uid, owner.gid)
  await applyPermission(path, permission)
}

/** Moves a file or directory to a path where nothing is, across file systems too. */
export async function move(source: string, destination: string, owner: Owner): Promise<void> {
  await lstat(source)
  if (await exists(destination))
    throw execdError('RUNTIME_ERROR', `Cannot move "${source}" as there is something at "${destination}"`)
  await makeDirectory(dirname(destination), owner)
  try {
    await rename(source, destination)
  } catch (error) {
    if (systemCodeOf(error) !== 'EXDEV') throw error
    const temporary = temporaryBeside(destination)
    try {
      await cp(source, temporary, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
      await rename(temporary, destination)
    } catch (copyError) {
      await rm(temporary, { recursive: true, force: true })
      throw copyError
    }
    await rm(source, { recursive: true, force: true })
  }
}

/** Removes a file or link; one that is not there is fine, a directory is refused. */
export async function removeFile(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (!found) return
  if (found.isDirectory())
    throw execdError('RUNTIME_ERROR', `Cannot remove "${path}" as a file: it is a directory`)
  await unlink(path)
}

type Target = { path: string; existing?: Stats }

/** Where content for `path` really goes: through links, to a regular file or to none. */
async function writableTarget(path: string): Promise<Target> {
  const real = await realpath(path).catch(async (error: unknown) => {
    if (systemCodeOf(error) !== 'ENOENT') throw error
    const link = await readlink(path).catch(() => undefined)
    return link === undefined ? path : resolve(dirname(path), link)
  })
  const existing = await stat(real).catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (!existing) return { path: real }
  if (!existing.isFile())
    throw execdError(
      'INVALID_REQUEST_BODY',
      `Cannot write to "${path}": it is ${existing.isDirectory() ? 'a directory' : 'not a regular file'}`,
    )
  return { path: real, existing }
}

type FileHandle = Awaited<ReturnType<typeof open>>

async function replaceContent(
  { path, existing }: Target,
  { permission, owner }: { permission: Permission; owner: Owner },
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const temporary = temporaryBeside(path)
  const handle = await open(temporary, 'wx', 0o600)
  try {
    // Not synced to disk: a sandbox does not outlive its host, and the sync would take longer than the writing.
    await write(handle)
    await handle.close()
    const { uid, gid } = { ...(existing ?? owner), ...pick(permission) }
    if (process.getuid?.() === 0) await chown(temporary, uid, gid)
    await chmod(temporary, permission.mode ?? (existing ? existing.mode & 0o7777 : NEW_FILE_MODE))
    await rename(temporary, path).catch(async (error: unknown) => {
      // A file that is itself a mount point, such as /etc/hosts, can only be written to.
      if (systemCodeOf(error) !== 'EBUSY') throw error
      await copyFile(temporary, path)
      await unlink(temporary)
    })
  } catch (error) {
    await handle.close()
    await rm(temporary, { force: true })
    throw error
  }
}

async function writeAll(handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at)).bytesWritten
}

function pick({ uid, gid }: Permission): { uid?: number; gid?: number } {
  return { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) }
}

/** A name that nobody uses, short enough for any file system. */
function temporaryBeside(path: string): string {
  const name = Buffer.from(basename(path))
    .subarray(0, 60)
    .toString('latin1')
    .replace(/[^\w.-]/g, '_')
  return join(dirname(path), `.${name}.${createRandomId().slice(0, 12)}.new`)
}

function splitBytes(content: Buffer, separator: Buffer): Buffer[] {
  const pieces: Buffer[] = []
  let from = 0
  for (let at = content.indexOf(separator); at >= 0; at = content.indexOf(separator, from)) {
    pieces.push(content.subarray(from, at))
    from = at + separator.length
  }
  pieces.push(content.subarray(from))
  return pieces
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false
    throw error
  }
}

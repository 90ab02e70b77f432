// Writing files whole: new content is written beside the old and takes its place in one step, so that nobody sees half of it and
// what fails leaves nothing behind. What an existing file has and nobody changes stays: its mode, its owner, its links.

import { constants, type Stats } from 'node:fs'
import {
  access,
  type FileHandle,
  link,
  open,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  unlink,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { createRandomId } from '../random-id.ts'
import { conflict, type Expectation, isThere, requireExpected } from './expectation.ts'
import { decodeName, nativePath } from './name.ts'
import { applyPermission, type Permission } from './permission.ts'
import { Unfinished } from './unfinished.ts'
import { refuseVitalPlace } from './vital.ts'

/** What a new file may do when nobody says: the contract's default. */
const NEW_FILE_MODE = 0o755
const MAX_LINKS = 40
const COPY_BYTES = 1 << 20

/** Who owns what execd makes, unless a client names someone else. */
export type Owner = { uid: number; gid: number }

/** What all writing shares. */
export type Writing = {
  owner: Owner
  vital: string[]
  unfinished: Unfinished
  /** Who waits to change which file: two that expect the same content cannot both find it. */
  busy: Map<string, Promise<unknown>>
  /** What all uploads have received and not written yet. */
  waiting: { bytes: number }
}

export function createWriting(options: { owner: Owner; vital: string[] }): Writing {
  return { ...options, unfinished: new Unfinished(), busy: new Map(), waiting: { bytes: 0 } }
}

/** New content for a path, being written. */
export type Replacement = {
  handle: FileHandle
  /** Puts the content in its place. */
  commit(): Promise<void>
  /** Removes what was written; after a commit it does nothing. */
  discard(): Promise<void>
}

export type Target = { path: string; existing?: Stats }

/** Begins to write new content for `target`. */
export async function openReplacement(
  { path, existing }: Target,
  {
    permission,
    expected,
    writing,
  }: { permission: Permission; expected?: Expectation | undefined; writing: Writing },
): Promise<Replacement> {
  await requireExpected(path, expected)
  const isInPlace = existing !== undefined && (await mustStay(path, existing))
  const { handle, temporary } = await openTemporary(path, writing.unfinished, {
    isReplacing: existing !== undefined,
    isElsewhere: isInPlace,
  })
  const discard = async () => {
    await handle.close()
    if (writing.unfinished.finish(temporary)) await rm(nativePath(temporary), { force: true })
  }
  const put = async () => {
    await requireExpected(path, expected)
    if (expected?.kind === 'absent') return putNew(temporary, path)
    // In a directory where no file may be made or renamed, and where the file itself is a mount point such as /etc/hosts, its
    // content can still be written.
    if (!isInPlace && dirname(temporary) === dirname(path))
      try {
        return await rename(nativePath(temporary), nativePath(path))
      } catch (error) {
        const code = systemCodeOf(error)
        if (!existing || (code !== 'EBUSY' && code !== 'EPERM' && code !== 'EACCES')) throw error
      }
    await copyInto(handle, path)
    await applyPermission(path, permission)
  }
  const commit = async () => {
    // Not synced to disk: a sandbox does not outlive its host, and the sync would take longer than the writing.
    const { uid, gid } = { ...(existing ?? writing.owner), ...pickOwner(permission) }
    if (!isInPlace && (isRoot() || permission.uid !== undefined || permission.gid !== undefined))
      await handle.chown(uid, gid)
    await handle.chmod(permission.mode ?? (existing ? existing.mode & 0o7777 : NEW_FILE_MODE))
    await alone(writing.busy, path, put)
    // What was renamed is gone from there, and must not be mistaken for left over.
    await discard()
  }
  return { handle, commit, discard }
}

/** Where content for `path` really goes: through links, to a regular file or to none. */
export async function writableTarget(path: string, vital: string[]): Promise<Target> {
  const real = await followLinks(path)
  await refuseVitalPlace(real, vital)
  const existing = await stat(nativePath(real)).catch((error: unknown) => {
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

/** A name beside `path` that nobody uses, short enough for any file system. */
export function temporaryBeside(path: string): string {
  return join(dirname(path), temporaryName(path))
}

/** Runs `work` when nobody else works on `key`. */
export async function alone<T>(
  busy: Map<string, Promise<unknown>>,
  key: string,
  work: () => Promise<T>,
): Promise<T> {
  const before = busy.get(key)
  const mine = (async () => {
    await before
    return work()
  })()
  const ended = mine.catch(() => {})
  busy.set(key, ended)
  try {
    return await mine
  } finally {
    if (busy.get(key) === ended) busy.delete(key)
  }
}

async function followLinks(path: string): Promise<string> {
  try {
    return decodeName(await realpath(nativePath(path), { encoding: 'buffer' }))
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error
  }
  // A link to nothing: the file is made where it points.
  let place = path
  for (let links = 0; links < MAX_LINKS; links++) {
    const target = await readlink(nativePath(place), { encoding: 'buffer' }).catch(() => undefined)
    if (target === undefined) return place
    place = resolve(dirname(place), decodeName(target))
  }
  throw execdError('INVALID_REQUEST_BODY', `Cannot write to "${path}": too many links lead from it`)
}

/** Beside the target, where it can be renamed from; for an existing file whose directory takes no other, elsewhere. */
async function openTemporary(
  path: string,
  unfinished: Unfinished,
  { isReplacing, isElsewhere }: { isReplacing: boolean; isElsewhere: boolean },
): Promise<{ handle: FileHandle; temporary: string }> {
  const make = async (temporary: string) => ({
    handle: await unfinished.begin(temporary, () => open(nativePath(temporary), 'wx+', 0o600)),
    temporary,
  })
  const elsewhere = join(tmpdir(), temporaryName(path))
  if (isElsewhere) return make(elsewhere)
  try {
    return await make(temporaryBeside(path))
  } catch (error) {
    const code = systemCodeOf(error)
    if (!isReplacing || (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS')) throw error
    // Fails at once, and as it should, when the file itself cannot be written either.
    await (await open(nativePath(path), 'r+')).close()
    return make(elsewhere)
  }
}

/**
 * Whether an existing file must get its new content itself, as another in its place would belong to someone else: only root
 * can give files away. Throws when it cannot be written at all.
 */
async function mustStay(path: string, existing: Stats): Promise<boolean> {
  if (isRoot()) return false
  await access(nativePath(path), constants.W_OK)
  return existing.uid !== process.getuid?.() || existing.gid !== process.getgid?.()
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** Gives new content a name that nothing has: unlike renaming, this never takes the place of something. */
async function putNew(temporary: string, path: string): Promise<void> {
  try {
    await link(nativePath(temporary), nativePath(path))
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'EEXIST') throw conflict(path, 'there is something already')
    // A file system without hard links.
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') throw error
    if (await isThere(path)) throw conflict(path, 'there is something already')
    await rename(nativePath(temporary), nativePath(path))
    return
  }
  await unlink(nativePath(temporary))
}

async function copyInto(from: FileHandle, path: string): Promise<void> {
  const to = await open(nativePath(path), 'r+')
  try {
    const buffer = Buffer.allocUnsafeSlow(COPY_BYTES)
    let at = 0
    for (;;) {
      const { bytesRead } = await from.read(buffer, 0, buffer.length, at)
      if (bytesRead === 0) break
      await writeAll(to, buffer.subarray(0, bytesRead), at)
      at += bytesRead
    }
    await to.truncate(at)
  } finally {
    await to.close()
  }
}

/** Writes all of `bytes` at `position`. */
export async function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; )
    at += (await handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten
}

function pickOwner({ uid, gid }: Permission): { uid?: number; gid?: number } {
  return { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) }
}

function temporaryName(path: string): string {
  const name = Buffer.from(basename(path))
    .subarray(0, 60)
    .toString('latin1')
    .replace(/[^\w.-]/g, '_')
  return `.${name}.${createRandomId().slice(0, 12)}.new`
}

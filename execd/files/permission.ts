// Modes and owners as clients send them (contract: execd.md 6.1): a mode is octal digits written as a decimal number, an
// owner is a name, or a number for one without a name. What is absent stays as it is.

import {
  chmodSync,
  closeSync,
  constants,
  type Dirent,
  fchmodSync,
  fchownSync,
  lchownSync,
  opendirSync,
  openSync,
} from 'node:fs'
import { chmod, chown, stat } from 'node:fs/promises'
import { systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { type Body, field, optionalText, wrong } from '../http/body.ts'
import { closePlace, openPlace, type Place } from '../place.ts'
import { MAX_USER_ID, type Users } from '../users.ts'
import { decodeName, nativePath } from './name.ts'
import type { Pace } from './turns.ts'

/** The system's word for leaving an owner or group as it is. */
const KEEP_ID = -1
const DIRECTORY_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
/** More does not fit into a path. */
const MAX_DEPTH = 2048
const READ_ENTRIES = 512

export type Permission = { mode?: number; uid?: number; gid?: number }

/** Reads `{mode, owner, group}`; `name` is how messages call it. */
export function parsePermission(body: Body, name: string, users: Users): Permission {
  const mode = parseMode(field(body, 'mode'), name)
  const owner = optionalText(body, 'owner')
  const group = optionalText(body, 'group')
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(owner ? { uid: parseId(owner, `${name}: no user`, (text) => users.byName(text)?.uid) } : {}),
    ...(group ? { gid: parseId(group, `${name}: no group`, (text) => users.groupId(text)) } : {}),
  }
}

/** Applies what is given to a file or directory, through links; the owner first, as a change of it clears setuid. */
export async function applyPermission(path: string, { mode, uid, gid }: Permission): Promise<void> {
  const target = nativePath(path)
  if (uid !== undefined || gid !== undefined) {
    const found = await stat(target)
    await chown(target, uid ?? found.uid, gid ?? found.gid)
  }
  if (mode !== undefined) await chmod(target, mode)
}

/**
 * The same for everything below a directory and the directory itself; links are not followed, and have no mode of their own. Each
 * directory is opened and reached through that handle from then on: who swaps one for a link meanwhile gives nobody a file
 * that lies elsewhere.
 */
export async function applyPermissionBelow(dir: string, permission: Permission, pace: Pace): Promise<void> {
  await applyToDirectory(nativePath(dir), permission, { pace, shown: [dir] })
}

type Descent = { pace: Pace /** The names on the way, for messages. */; shown: string[] }

async function applyToDirectory(
  place: string | Buffer,
  permission: Permission,
  { pace, shown }: Descent,
): Promise<void> {
  const fd = openDirectory(place, shown)
  if (fd === undefined) return
  try {
    const base = Buffer.from(`/proc/self/fd/${fd}/`)
    for (const entry of entriesOf(base)) {
      if (pace.isDue) await pace.rest()
      const { name } = entry
      const child = Buffer.concat([base, name])
      if (entry.isDirectory())
        await applyToDirectory(child, permission, { pace, shown: [...shown, decodeName(name)] })
      else applyToOther(child, permission)
    }
    // After what is in it, which could not be reached any more. The owner first, as a change of it clears setuid.
    const { mode, uid, gid } = permission
    if (uid !== undefined || gid !== undefined) fchownSync(fd, uid ?? KEEP_ID, gid ?? KEEP_ID)
    if (mode !== undefined) fchmodSync(fd, mode)
  } finally {
    closeSync(fd)
  }
}

/** The entries of a directory, however many there are: never all of them at once. */
function* entriesOf(dir: Buffer): Generator<Dirent<Buffer>> {
  // The types know only of texts here.
  const handle = opendirSync(dir, { encoding: 'buffer' as BufferEncoding, bufferSize: READ_ENTRIES })
  try {
    for (let entry = handle.readSync(); entry; entry = handle.readSync())
      yield entry as unknown as Dirent<Buffer>
  } finally {
    handle.closeSync()
  }
}

/** Undefined when it has vanished, or become something else, which is then not what was meant. */
function openDirectory(place: string | Buffer, shown: string[]): number | undefined {
  const refuse = (why: string, cause?: unknown) =>
    execdError('RUNTIME_ERROR', `Cannot change everything: "${shown.join('/').toWellFormed()}" ${why}`, cause)
  if (shown.length > MAX_DEPTH) throw refuse('is nested too deep')
  try {
    return openSync(place, DIRECTORY_FLAGS)
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined
    throw code === undefined ? error : refuse('cannot be read', error)
  }
}

/** `place` is a name in an open directory. */
function applyToOther(place: Buffer, { mode, uid, gid }: Permission): void {
  let found: Place | undefined
  try {
    if (uid !== undefined || gid !== undefined) lchownSync(place, uid ?? KEEP_ID, gid ?? KEEP_ID)
    if (mode === undefined) return
    found = openPlace(place)
    if (!found.stat.isSymbolicLink()) chmodSync(found.path, mode)
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error
  } finally {
    if (found) closePlace(found)
  }
}

/** A mode as clients read it: the low nine bits, octal digits as a decimal number. */
export function formatMode(mode: number): number {
  return Number((mode & 0o777).toString(8))
}

/** The same with setuid, setgid and sticky. */
export function formatFullMode(mode: number): number {
  return Number((mode & 0o7777).toString(8))
}

function parseMode(value: unknown, name: string): number | undefined {
  if (value === undefined || value === 0) return undefined
  if (typeof value !== 'number' || !/^[0-7]{1,4}$/.test(String(value)))
    throw wrong(`${name}: mode`, 'octal digits written as a number, such as 644 or 755', value)
  return Number.parseInt(String(value), 8)
}

function parseId(text: string, what: string, byName: (text: string) => number | undefined): number {
  const id = byName(text) ?? (/^\d{1,10}$/.test(text) ? Number(text) : undefined)
  if (id === undefined || id > MAX_USER_ID) throw execdError('INVALID_REQUEST_BODY', `${what} "${text}"`)
  return id
}

// Modes and owners as clients send them (contract: execd.md 6.1): a mode is octal digits written as a decimal number, an
// owner is a name, or a number for one without a name. What is absent stays as it is.

import { chmod, chown, lchown, stat } from 'node:fs/promises'
import { execdError } from '../http/answer.ts'
import { type Body, field, optionalText, wrong } from '../http/body.ts'
import type { Users } from '../users.ts'
import { nativePath } from './name.ts'
import type { Pace } from './turns.ts'
import { walk } from './walk.ts'

/** The system's word for leaving an owner or group as it is. */
const KEEP_ID = -1

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

/** The same for everything below a directory and the directory itself; links are not followed, and have no mode of their own. */
export async function applyPermissionBelow(dir: string, permission: Permission, pace: Pace): Promise<void> {
  const { mode, uid, gid } = permission
  // A directory gets its mode after what is in it, which could not be reached any more.
  const directories = [dir]
  await walk(dir, { pace, onUnreadable: refuseUnreadable }, async ({ path, kind }) => {
    const target = nativePath(path)
    if (kind === 'directory') directories.push(path)
    else {
      if (uid !== undefined || gid !== undefined) await lchown(target, uid ?? KEEP_ID, gid ?? KEEP_ID)
      if (mode !== undefined && kind !== 'symlink') await chmod(target, mode)
    }
    return true
  })
  for (const path of directories.reverse()) await applyPermission(path, permission)
}

function refuseUnreadable(path: string): void {
  throw execdError('RUNTIME_ERROR', `Cannot change everything: "${path}" cannot be read`)
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
  if (id === undefined || id > 2 ** 32 - 2) throw execdError('INVALID_REQUEST_BODY', `${what} "${text}"`)
  return id
}

// Modes and owners as clients send them (contract: execd.md 6.1): a mode is octal digits written as a decimal number, an
// owner is a name, or a number for one without a name. What is absent stays as it is.

import { chmod, lchown, lstat } from 'node:fs/promises'
import { execdError } from '../http/answer.ts'
import { type Body, field, optionalText, wrong } from '../http/body.ts'
import type { Users } from '../users.ts'

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

/** Applies what is given to a file or directory; the owner first, as a change of it clears setuid. */
export async function applyPermission(path: string, { mode, uid, gid }: Permission): Promise<void> {
  if (uid !== undefined || gid !== undefined) {
    const stat = await lstat(path)
    await lchown(path, uid ?? stat.uid, gid ?? stat.gid)
  }
  if (mode !== undefined) await chmod(path, mode)
}

/** A mode as clients read it: the low nine bits, octal digits as a decimal number. */
export function formatMode(mode: number): number {
  return Number((mode & 0o777).toString(8))
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

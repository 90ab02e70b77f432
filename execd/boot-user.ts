// Who runs the entrypoint and every command that names nobody: by the numbers of the boot file, or by the image's `User`, whose names
// stand in the image's own files and nowhere else.

import type { BootFile } from '../lib/api/guest.ts'
import { StartError, type UserIds } from './command/process.ts'
import { MAX_USER_ID, type User, type Users } from './users.ts'

/** Throws StartError when the image names somebody whom it does not know. */
export function bootUser(
  { uid = 0, gid, user }: Pick<BootFile, 'uid' | 'gid' | 'user'>,
  users: Users,
): UserIds {
  if (user !== undefined && user !== '') return namedUser(user, users)
  const known = users.byUid(uid)
  return { uid, gid: gid ?? known?.gid ?? uid, groups: groupsOf(known, users) }
}

/** `name`, `uid`, and either with `:group` or `:gid`; a number that nobody has stands for itself, in group 0. */
function namedUser(text: string, users: Users): UserIds {
  const [name = '', group] = text.split(':', 2)
  const known = users.byName(name) ?? users.byUid(numberOf(name) ?? -1)
  const uid = known?.uid ?? numberOf(name)
  const gid = group ? (users.groupId(group) ?? numberOf(group)) : (known?.gid ?? 0)
  if (uid === undefined || gid === undefined)
    throw new StartError(
      `Entrypoint: the image is to be run as "${text.slice(0, 200)}", but it has no such ${uid === undefined ? 'user' : 'group'}`,
      126,
    )
  // Who names a group has that one alone.
  return { uid, gid, groups: group ? [] : groupsOf(known, users) }
}

function groupsOf(known: User | undefined, users: Users): number[] {
  return known && known.uid !== 0 ? users.supplementaryGroups(known.name) : []
}

function numberOf(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= MAX_USER_ID ? Number(text) : undefined
}

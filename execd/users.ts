// Names and numbers of users and groups, from the sandbox's own passwd and group files, read again when they change.

import { readFileSync, statSync } from 'node:fs'

/** The largest number of a user or group: the next one means "none" to the kernel. */
export const MAX_USER_ID = 2 ** 32 - 2

export type User = { name: string; uid: number; gid: number; home: string }

export type Users = {
  byUid(uid: number): User | undefined
  byName(name: string): User | undefined
  groupName(gid: number): string | undefined
  groupId(name: string): number | undefined
  /** The groups beside the primary one that name the user as a member. */
  supplementaryGroups(name: string): number[]
}

type Group = { name: string; gid: number; members: string[] }

export function createUsers(passwdPath = '/etc/passwd', groupPath = '/etc/group'): Users {
  const passwd = cached(passwdPath, (text) => {
    const users: User[] = []
    for (const line of text.split('\n')) {
      const [name, , uid, gid, , home] = line.split(':')
      if (name && isNumber(uid) && isNumber(gid))
        users.push({ name, uid: Number(uid), gid: Number(gid), home: home || '/' })
    }
    // The first line of a number or a name wins, as in the C library.
    return { byUid: firstOf(users, (user) => user.uid), byName: firstOf(users, (user) => user.name) }
  })
  const group = cached(groupPath, (text) => {
    const groups: Group[] = []
    for (const line of text.split('\n')) {
      const [name, , gid, members = ''] = line.split(':')
      if (name && isNumber(gid))
        groups.push({ name, gid: Number(gid), members: members.split(',').filter(Boolean) })
    }
    return { groups, byGid: firstOf(groups, (g) => g.gid), byName: firstOf(groups, (g) => g.name) }
  })
  return {
    byUid: (uid) => passwd().byUid.get(uid),
    byName: (name) => passwd().byName.get(name),
    groupName: (gid) => group().byGid.get(gid)?.name,
    groupId: (name) => group().byName.get(name)?.gid,
    supplementaryGroups: (name) =>
      group()
        .groups.filter((g) => g.members.includes(name))
        .map((g) => g.gid),
  }
}

function cached<T>(path: string, parse: (text: string) => T): () => T {
  let key = ''
  let value: T | undefined
  return () => {
    let now = 'none'
    try {
      const stat = statSync(path)
      now = `${stat.ino} ${stat.mtimeMs} ${stat.size}`
    } catch {
      // An image without the file has no names; the numbers stand for themselves.
    }
    if (value === undefined || now !== key) {
      value = parse(now === 'none' ? '' : readFileSync(path, 'utf8'))
      key = now
    }
    return value
  }
}

function firstOf<T, K>(items: T[], keyOf: (item: T) => K): Map<K, T> {
  return new Map(items.toReversed().map((item) => [keyOf(item), item]))
}

function isNumber(text: string | undefined): boolean {
  return text !== undefined && /^\d{1,10}$/.test(text)
}

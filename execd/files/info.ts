// What clients are told of a file (contract: execd.md 6.1). Links are not followed.

import { readlinkSync, type Stats } from 'node:fs'
import type { FileInfo } from '../../lib/api/execd.ts'
import type { FileDetails } from '../../lib/api/execd-files.ts'
import type { Users } from '../users.ts'
import { decodeName, encodeName, nativePath } from './name.ts'
import { formatFullMode, formatMode } from './permission.ts'

const SPECIAL_BITS = 0o7000
const FIRST_MS = Date.parse('0001-01-01T00:00:00Z')
const LAST_MS = Date.parse('9999-12-31T23:59:59Z')

/** Describes files for one answer: the names of users and groups are looked up once. */
export function createDescriber(users: Users): (path: string, stat: Stats) => FileDetails {
  const { ownerOf, groupOf } = rememberNames(users)
  return (path, stat) => ({
    path: path.toWellFormed(),
    type: typeOf(stat),
    size: stat.size,
    modified_at: formatTime(stat.mtimeMs),
    // Some file systems do not know when a file was made.
    created_at: formatTime(stat.birthtimeMs > 0 ? stat.birthtimeMs : stat.ctimeMs),
    owner: ownerOf(stat.uid),
    group: groupOf(stat.gid),
    mode: formatMode(stat.mode),
    uid: stat.uid,
    gid: stat.gid,
    ...((stat.mode & SPECIAL_BITS) === 0 ? {} : { full_mode: formatFullMode(stat.mode) }),
    ...(stat.isSymbolicLink() ? targetOf(path) : {}),
    ...exactPath(path),
  })
}

/** The names of owners and groups; the number of one that has none. */
export type Names = { ownerOf(uid: number): string; groupOf(gid: number): string }

/** Names that are looked up once each. */
export function rememberNames(users: Users): Names {
  return {
    ownerOf: remembered((uid) => users.byUid(uid)?.name ?? String(uid)),
    groupOf: remembered((gid) => users.groupName(gid) ?? String(gid)),
  }
}

/** The bytes of a path that is not UTF-8. */
export function exactPath(path: string): { path_base64?: string } {
  return path.isWellFormed() ? {} : { path_base64: encodeName(path).toString('base64') }
}

export function typeOf(stat: Stats): FileInfo['type'] {
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'directory'
  return stat.isSymbolicLink() ? 'symlink' : 'other'
}

/** A file can claim to be from any time; what clients can read has a year of four digits. */
function formatTime(ms: number): string {
  return new Date(Math.min(Math.max(ms, FIRST_MS), LAST_MS)).toISOString()
}

function targetOf(path: string): { target?: string } {
  try {
    return { target: decodeName(readlinkSync(nativePath(path), { encoding: 'buffer' })).toWellFormed() }
  } catch {
    // It has changed since; what was seen of it stays true.
    return {}
  }
}

function remembered(find: (id: number) => string): (id: number) => string {
  const known = new Map<number, string>()
  return (id) => {
    let name = known.get(id)
    if (name === undefined) {
      name = find(id)
      known.set(id, name)
    }
    return name
  }
}

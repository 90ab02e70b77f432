// What clients are told of a file (contract: execd.md 6.1). Links are not followed.

import type { Stats } from 'node:fs'
import type { FileInfo } from '../../lib/api/execd.ts'
import type { Users } from '../users.ts'
import { formatMode } from './permission.ts'

export function describeFile(path: string, stat: Stats, users: Users): FileInfo {
  return {
    path,
    type: typeOf(stat),
    size: stat.size,
    modified_at: stat.mtime.toISOString(),
    // Some file systems do not know when a file was made.
    created_at: (stat.birthtimeMs > 0 ? stat.birthtime : stat.ctime).toISOString(),
    owner: users.byUid(stat.uid)?.name ?? String(stat.uid),
    group: users.groupName(stat.gid) ?? String(stat.gid),
    mode: formatMode(stat.mode),
  }
}

function typeOf(stat: Stats): FileInfo['type'] {
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'directory'
  return stat.isSymbolicLink() ? 'symlink' : 'other'
}

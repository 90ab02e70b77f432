// What a copy has of its source beside the content. A copy lies beside its destination, where others may put something else in its
// place before it is done.

import { chmodSync, chownSync, lchownSync, lutimesSync, type Stats, utimesSync } from 'node:fs'
import { execdError } from '../http/answer.ts'
import { closePlace, openPlace } from '../place.ts'
import { nativePath } from './name.ts'

const TYPE_BITS = 0o170000

/** Gives the copy at `path` the owner, mode and times of its source. Refuses when something of another kind stands there. */
export function keepAttributes(path: string, { mode, uid, gid, atimeMs, mtimeMs }: Stats): void {
  const target = nativePath(path)
  const place = openPlace(target)
  try {
    if ((place.stat.mode & TYPE_BITS) !== (mode & TYPE_BITS))
      throw execdError('RUNTIME_ERROR', `Cannot move to "${path}": something else was put there meanwhile`)
    const isRoot = process.getuid?.() === 0
    if (place.stat.isSymbolicLink()) {
      // Of a link by its name: at worst that of another one changes.
      if (isRoot) lchownSync(target, uid, gid)
      lutimesSync(target, atimeMs / 1000, mtimeMs / 1000)
    } else {
      // The owner first, as a change of it clears setuid.
      if (isRoot) chownSync(place.path, uid, gid)
      chmodSync(place.path, mode & 0o7777)
      utimesSync(place.path, atimeMs / 1000, mtimeMs / 1000)
    }
  } finally {
    closePlace(place)
  }
}

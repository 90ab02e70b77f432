// Making a directory with all above it. Node's own way to do so goes on for ever, on its only thread, where the kernel lets nothing be
// made and says that the directory above does not exist although it does, as below /proc.

import { chownSync, constants, mkdirSync, statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { systemCodeOf } from '../lib/errors.ts'
import { encodeName, nativePath } from './files/name.ts'
import { closePlace, openPlace } from './place.ts'

const DIRECTORY = constants.O_DIRECTORY | constants.O_NOFOLLOW

/** Returns the first directory that was not there, or undefined when all were. */
export function makeDirectories(path: string, mode = 0o777): string | undefined {
  try {
    return makeOne(path, mode) ? path : undefined
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT' || dirname(path) === path) throw error
  }
  const first = makeDirectories(dirname(path), mode)
  return makeOne(path, mode) ? (first ?? path) : undefined
}

/**
 * Gives what `makeDirectories` has made on the way to `path`, from `first` on, to a user. Fails when a link or something else stands
 * in the place of one of them, be it since it was made.
 */
export function giveDirectories(first: string, path: string, owner: { uid: number; gid: number }): void {
  // Of what is above, links are the way to go.
  let place = openPlace(nativePath(dirname(first)), constants.O_DIRECTORY)
  try {
    for (const name of [basename(first), ...path.slice(first.length).split('/').filter(Boolean)]) {
      const next = openPlace(Buffer.concat([Buffer.from(`${place.path}/`), encodeName(name)]), DIRECTORY)
      closePlace(place)
      place = next
      const { uid, gid } = place.stat
      if (uid !== owner.uid || gid !== owner.gid) chownSync(place.path, owner.uid, owner.gid)
    }
  } finally {
    closePlace(place)
  }
}

/** False when it is there already, be it by a link. */
function makeOne(path: string, mode: number): boolean {
  try {
    mkdirSync(nativePath(path), { mode })
    return true
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST' || !statSync(nativePath(path)).isDirectory()) throw error
    return false
  }
}

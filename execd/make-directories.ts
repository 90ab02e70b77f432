// Making a directory with all above it. Node's own way to do so goes on for ever, on its only thread, where the kernel lets nothing be
// made and says that the directory above does not exist although it does, as below /proc.

import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemCodeOf } from '../lib/errors.ts'
import { nativePath } from './files/name.ts'

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

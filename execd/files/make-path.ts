// Making a directory with its parents. Node's own way never returns where the kernel answers "no such directory" to a mkdir in a
// directory that exists, as it does everywhere below /proc.

import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'

/** Makes what is missing of an absolute path; returns the first directory that was not there. Throws a system error. */
export function makePath(path: string, mode = 0o777): string | undefined {
  const missing: string[] = []
  for (let at = path; statSync(at, { throwIfNoEntry: false }) === undefined; at = dirname(at))
    missing.unshift(at)
  for (const directory of missing) {
    try {
      mkdirSync(directory, mode)
    } catch (error) {
      // Someone else was faster.
      const isThere = systemCodeOf(error) === 'EEXIST' && statSync(directory).isDirectory()
      if (!isThere) throw error
    }
  }
  return missing[0]
}

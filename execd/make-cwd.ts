// The directory that a lasting process begins in: a session, a terminal, or the kernel of a context. Its client names it before it
// is there.

import { statSync } from 'node:fs'
import { messageOf, systemCodeOf } from '../lib/errors.ts'
import type { UserIds } from './command/process.ts'
import { nativePath } from './files/name.ts'
import { execdError } from './http/answer.ts'
import { giveDirectories, makeDirectories } from './make-directories.ts'

/** Makes a directory with all above it, for a user. One that is there stays as it is. Throws a refusal when it is something else. */
export function makeCwd(path: string, user: UserIds): void {
  try {
    const first = makeDirectories(path)
    if (first !== undefined) giveDirectories(first, path, user)
    if (statSync(nativePath(path)).isDirectory()) return
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST' && systemCodeOf(error) !== 'ENOTDIR')
      throw execdError('RUNTIME_ERROR', `Cannot make the directory "${path}": ${messageOf(error)}`, error)
  }
  throw execdError('INVALID_REQUEST_BODY', `working directory "${path}" is not a directory`)
}

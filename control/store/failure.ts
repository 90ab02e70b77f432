// What is wrong when the database, or a file beside it, cannot be read or written. The codes are SQLite's (sqlite.org/rescode.html),
// with what follows their first two parts saying more, and the system's.

import { systemCodeOf } from '../../lib/errors.ts'

export const STORE_FAILURES = ['full', 'busy', 'read-only', 'damaged', 'unavailable'] as const
export type StoreFailure = (typeof STORE_FAILURES)[number]

// The first that fits decides.
const BY_CODE: [RegExp, StoreFailure][] = [
  // The file of shared memory could not be made larger.
  [/^(SQLITE_FULL|SQLITE_IOERR_SHMSIZE|ENOSPC|EDQUOT)$/, 'full'],
  [/^SQLITE_(BUSY|LOCKED|PROTOCOL)/, 'busy'],
  [/^(SQLITE_READONLY|EROFS$)/, 'read-only'],
  [/^SQLITE_(CORRUPT|NOTADB)/, 'damaged'],
  [/^(SQLITE_(IOERR|CANTOPEN)|EIO$)/, 'unavailable'],
]
const DEEPEST_CAUSE = 5

/** Which of them it is, by the error or what led to it; undefined when it is something else. */
export function storeFailureOf(error: unknown): StoreFailure | undefined {
  let found: unknown = error
  for (let depth = 0; depth < DEEPEST_CAUSE && found !== undefined; depth++) {
    const code = systemCodeOf(found)
    const known = code === undefined ? undefined : BY_CODE.find(([pattern]) => pattern.test(code))
    if (known) return known[1]
    found = found instanceof Error ? found.cause : undefined
  }
  return undefined
}

/** The same for whoever starts the program: what it is, and what helps. */
export const STORE_ADVICE: Record<StoreFailure, string> = {
  full: 'there is no space left on its disk: make room',
  busy: 'another program holds it: end whatever has it open',
  'read-only': 'it, or its disk, is read-only: make it writable',
  damaged: 'it is damaged: restore a backup (docs/backup.md)',
  unavailable: 'it cannot be read or written: look at its disk and its directory',
}

// Whether the database can be read and written, and will be in a moment: a disk that is nearly full still takes the one page
// that a check writes.

import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Database, probe } from '../store/database.ts'
import { type Check, NotReady } from './readiness.ts'

/** A busy server writes as much within seconds. */
const LEAST_FREE_BYTES = 16 << 20

export function createDatabaseCheck(
  database: Database,
  freeBytes: (path: string) => Promise<number> = readFreeBytes,
): Check {
  return async () => {
    probe(database)
    if (database.raw.memory) return
    if ((await freeBytes(dirname(database.raw.name))) < LEAST_FREE_BYTES)
      throw new NotReady('there is hardly any space left on the disk of the data directory')
  }
}

async function readFreeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path)
  return bavail * bsize
}
